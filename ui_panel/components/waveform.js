// How loud a sound is over its time, drawn from the file itself.
import {html, useEffect, useRef, useState} from './base.js';

// Decoded sound is large: an hour is more than a gigabyte. Longer or larger files have no picture.
const MOST_BYTES = 80e6;
const MOST_SECONDS = 900;
const BARS = 220;

export async function peaksOf(source, seconds) {
  if ((seconds ?? 0) > MOST_SECONDS) return null;
  const bytes = source instanceof Blob ? await source.arrayBuffer() : await (await fetch(source)).arrayBuffer();
  if (bytes.byteLength > MOST_BYTES) return null;
  // 16 kHz are enough to draw, and a fraction of the memory.
  const context = new OfflineAudioContext(1, 1, 16000);
  const sound = await context.decodeAudioData(bytes);
  const samples = sound.getChannelData(0);
  const step = Math.max(1, Math.floor(samples.length / BARS));
  const peaks = Array.from({length: Math.min(BARS, samples.length)}, (_, bar) => {
    let peak = 0;
    for (let at = bar * step, end = Math.min(samples.length, at + step); at < end; at += 8) peak = Math.max(peak, Math.abs(samples[at]));
    return peak;
  });
  const most = Math.max(...peaks, 1e-3);
  return {peaks: peaks.map(peak => peak / most), seconds: sound.duration};
}

export function Waveform({source, seconds, at, label, onSeconds, span}) {
  const canvas = useRef(null);
  const [found, setFound] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    setFound(null);
    if (source) peaksOf(source, seconds).then(peaks => { if (isCurrent && peaks) { setFound(peaks); onSeconds?.(peaks.seconds); } }, () => {});
    return () => { isCurrent = false; };
  }, [source]);
  useEffect(() => {
    const board = canvas.current;
    if (!board || !found) return undefined;
    const paint = () => {
      const ratio = window.devicePixelRatio || 1;
      const {width, height} = board.getBoundingClientRect();
      board.width = Math.max(1, width * ratio);
      board.height = Math.max(1, height * ratio);
      const brush = board.getContext('2d');
      const style = getComputedStyle(board);
      const wide = board.width / found.peaks.length;
      found.peaks.forEach((peak, bar) => {
        const second = (bar / found.peaks.length) * found.seconds;
        const isIn = !span || (second >= span.start && second <= (span.end ?? Infinity));
        brush.fillStyle = style.getPropertyValue(second <= (at ?? -1) ? '--brand' : isIn ? '--brand-line' : '--line');
        const tall = Math.max(2 * ratio, peak * board.height * 0.92);
        brush.fillRect(bar * wide, (board.height - tall) / 2, Math.max(1, wide * 0.62), tall);
      });
    };
    paint();
    const watcher = new ResizeObserver(paint);
    watcher.observe(board);
    return () => watcher.disconnect();
  }, [found, at, span?.start, span?.end, document.documentElement.dataset.theme]);
  return found && html`<canvas class="wave" ref=${canvas} role="img" aria-label=${label}></canvas>`;
}
