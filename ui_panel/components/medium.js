// The cards of the voice and of the video: a place to drop a file, then the file itself to hear or see.
import {html, mount, clock, length, size, useEffect, useRef, useState, Icon} from './base.js';
import {Drop, usePaste} from './files.js';
import {Recorder} from './recording.js';
import {Notice, Row, useUploads} from './upload.js';
import {Waveform} from './waveform.js';

export const render = given => mount(given, Medium);

function Medium({shown, t, send}) {
  const {slot, media, step} = shown;
  const {rows, notice, start, drop, local} = useUploads(slot, t, send);
  const [isRecording, setRecording] = useState(false);
  usePaste(slot, files => { if (shown.is_here) start(files[0]); });
  if (!shown.is_here) return null;

  const row = rows[0];
  const own = media && local.get(media.key);
  const current = row && row.state !== 'failed' ? {name: row.name, url: row.url, source: row.file, seconds: row.seconds, size: row.total}
    : media && {...media, url: own?.url ?? media.url, source: own?.file ?? media.url};
  const take = file => { setRecording(false); start(file); };

  return html`
    <section class="card input" aria-label=${t(`${slot}.title`)}>
      <header class="head">
        <span class=${`step ${media ? 'done' : ''}`} aria-hidden="true">${media ? html`<${Icon} name="check" />` : step}</span>
        <div class="grow"><h2>${t(`${slot}.title`)}</h2><p class="soft">${shown.is_needed ? t(`${slot}.hint`) : t(`${slot}.optional`)}</p></div>
        ${media && html`<button type="button" class="round" title=${t('media.remove', {name: media.name})}
          aria-label=${t('media.remove', {name: media.name})} onClick=${() => send({type: 'removed', slot})}><${Icon} name="close" /></button>`}
      </header>
      ${isRecording && html`<${Recorder} slot=${slot} t=${t} onFile=${take} onLeave=${() => setRecording(false)} />`}
      ${!current && !isRecording && html`
        <${Drop} slot=${slot} title=${t(`${slot}.drop`)} formats=${t(`${slot}.formats`)} choose=${t('media.choose')}
          paste=${t('media.or_paste')} onFiles=${files => start(files[0])} onRecord=${() => setRecording(true)} record=${t(`${slot}.record`)} />`}
      ${current && !isRecording && html`<${Shown} slot=${slot} current=${current} span=${shown.span} t=${t} send=${send} isStored=${Boolean(media) && !row} />`}
      ${rows.map(one => html`<${Row} key=${one.id} row=${one} t=${t} onDrop=${() => drop(one.id)} onAgain=${() => { drop(one.id); start(one.file); }} />`)}
      <${Notice} notice=${notice} />
    </section>`;
}

function Shown({slot, current, span, t, send, isStored}) {
  const player = useRef(null);
  const hasAsked = useRef(false);
  const [at, setAt] = useState(0);
  const [isPlaying, setPlaying] = useState(false);
  const [seconds, setSeconds] = useState(current.seconds ?? null);
  const [cannot, setCannot] = useState(false);
  useEffect(() => { setCannot(false); setAt(0); setSeconds(current.seconds ?? null); }, [current.url]);
  const learned = found => {
    if (!Number.isFinite(found) || seconds) return;
    setSeconds(found);
  };
  // A file of before a reload or of an example came without its length: what the browser finds is told once.
  useEffect(() => {
    if (isStored && seconds && !current.seconds) send({type: 'stored', slot, media: {key: current.key, name: current.name, size: current.size, media_type: current.media_type ?? '', seconds, width: player.current?.videoWidth || null, height: player.current?.videoHeight || null, url: current.url?.startsWith('blob:') ? null : current.url}});
  }, [isStored, seconds, current.seconds]);
  const on = {
    onLoadedMetadata: event => { hasAsked.current = false; learned(event.target.duration); },
    onTimeUpdate: event => {
      setAt(event.target.currentTime);
      if (span?.end && event.target.currentTime > span.end) { event.target.pause(); event.target.currentTime = span.start; }
    },
    onPlay: () => setPlaying(true), onPause: () => setPlaying(false),
    // What the bucket does not give any more was signed long ago: asked for anew, once until it plays.
    onError: () => { setCannot(true); if (current.url?.startsWith('http') && !hasAsked.current) { hasAsked.current = true; send({type: 'sign'}); } },
  };
  const toggle = () => { const film = player.current; if (film.paused) film.play().catch(() => {}); else film.pause(); };
  const seek = second => { if (player.current) player.current.currentTime = second; };
  return html`
    <div class="stage">
      ${slot === 'video'
        ? html`<video ref=${player} class="film" src=${current.url} playsinline preload="metadata" controls=${!cannot} aria-label=${t('media.preview', {name: current.name})} ...${on}></video>`
        : html`<audio ref=${player} src=${current.url} preload="metadata" ...${on}></audio>
          <div class="player">
            <button type="button" class="round main" aria-label=${isPlaying ? t('media.pause') : t('media.play')} onClick=${toggle}><${Icon} name=${isPlaying ? 'pause' : 'play'} /></button>
            <div class="grow"><${Waveform} source=${current.source} seconds=${seconds} at=${at} label=${t('media.wave', {name: current.name})} onSeconds=${learned} /></div>
            <span class="soft digits">${clock(at)}${seconds ? ` / ${clock(seconds)}` : ''}</span>
          </div>`}
      ${cannot && html`<div class="notice soft">${t('media.no_preview')}</div>`}
      <div class="name">${current.name} <span class="soft">${[seconds && length(seconds, t), current.size && size(current.size, t)].filter(Boolean).join(' · ')}</span></div>
      ${slot === 'video' && isStored && seconds > 0 && html`<${Trim} span=${span} seconds=${seconds} source=${current.source} t=${t} send=${send} seek=${seek} />`}
    </div>`;
}

/** Two handles over the time of the video; native ranges, so that keyboard, touch and screen readers work by themselves. */
function Trim({span, seconds, source, t, send, seek}) {
  const [start, setStart] = useState(span.start);
  const [end, setEnd] = useState(span.end ?? seconds);
  const settling = useRef(null);
  // What the server says of an earlier step must not pull back a handle that is still moving.
  useEffect(() => { if (!settling.current) { setStart(span.start); setEnd(span.end ?? seconds); } }, [span.start, span.end, seconds]);
  const least = Math.min(0.2, seconds / 2);
  const settle = (from, to) => {
    clearTimeout(settling.current);
    settling.current = setTimeout(() => {
      settling.current = null;
      send({type: 'chosen', span: {start: from < 0.01 ? 0 : from, end: to > seconds - 0.01 ? null : to}});
    }, 250);
  };
  const isWhole = start < 0.01 && end > seconds - 0.01;
  const step = seconds > 60 ? 0.1 : 0.04;
  return html`
    <fieldset class="trim">
      <legend>${t('trim.title')}</legend>
      <${Waveform} source=${source} seconds=${seconds} label=${t('trim.title')} span=${{start, end}} />
      <div class="ranges" style=${`--from:${(100 * start) / seconds}%;--to:${(100 * end) / seconds}%`}>
        <input type="range" min="0" max=${seconds} step=${step} value=${start} aria-label=${t('trim.start')} aria-valuetext=${clock(start)}
          onInput=${event => { const value = Math.min(Number(event.target.value), end - least); event.target.value = value; setStart(value); seek(value); }}
          onChange=${() => settle(start, end)} />
        <input type="range" min="0" max=${seconds} step=${step} value=${end} aria-label=${t('trim.end')} aria-valuetext=${clock(end)}
          onInput=${event => { const value = Math.max(Number(event.target.value), start + least); event.target.value = value; setEnd(value); seek(value); }}
          onChange=${() => settle(start, end)} />
      </div>
      <div class="line between">
        <span class="soft digits">${isWhole ? t('trim.whole', {length: length(seconds, t)}) : t('trim.told', {start: clock(start), end: clock(end), length: length(end - start, t)})}</span>
        ${!isWhole && html`<button type="button" class="link" onClick=${() => { setStart(0); setEnd(seconds); settle(0, seconds); }}>${t('trim.reset')}</button>`}
      </div>
    </fieldset>`;
}
