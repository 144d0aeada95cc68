// Before and after as two films that run together, with a line between them that a finger, a mouse or a key moves.
import {html, clock, useEffect, useRef, useState, Icon} from './base.js';

// Further apart than two frames is seen.
const APART = 0.08;
// Of a media element's errors: what the bucket does not give, midway or from the start.
const NOT_GIVEN = new Set([MediaError.MEDIA_ERR_NETWORK, MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED]);
const MOST_RENEWALS = 2;

/**
 * Asks for a new address when a film's own has run out; until it plays only so often: a broken one would ask for ever.
 * One that comes with its first picture and breaks behind it is broken: it has to go on by itself.
 */
function useRenewal(onExpired) {
  const asked = useRef(0);
  const hasGoneOn = ({target}) => { if (!target.paused && !target.seeking) asked.current = 0; };
  const hasFailed = ({target}) => {
    if (!NOT_GIVEN.has(target.error?.code) || asked.current >= MOST_RENEWALS) return;
    asked.current += 1;
    onExpired();
  };
  return {hasGoneOn, hasFailed};
}

export function Compare({before, after, startsAt, t, onExpired}) {
  const [wipe, setWipe] = useState(50);
  const [at, setAt] = useState(0);
  const [seconds, setSeconds] = useState(0);
  const [isPlaying, setPlaying] = useState(false);
  const [isMuted, setMuted] = useState(false);
  const [speed, setSpeed] = useState(1);
  const [shape, setShape] = useState('16 / 9');
  const front = useRef(null);
  const back = useRef(null);
  const board = useRef(null);
  // A target that is gone must not use up what the result has.
  const [ofResult, ofTarget] = [useRenewal(onExpired), useRenewal(onExpired)];

  useEffect(() => { if (front.current) front.current.playbackRate = speed; if (back.current) back.current.playbackRate = speed; }, [speed, before]);
  const follow = () => {
    const old = back.current;
    if (!old || !Number.isFinite(old.duration)) return;
    // The target may be shorter than the result: it then starts again, as the result's picture does.
    const span = Math.max(0.1, old.duration - startsAt);
    const wanted = startsAt + (front.current.currentTime % span);
    if (Math.abs(old.currentTime - wanted) > APART) old.currentTime = wanted;
  };
  const toggle = () => {
    const film = front.current;
    if (film.paused) { film.play().catch(() => {}); back.current?.play().catch(() => {}); } else film.pause();
  };
  const seek = second => { front.current.currentTime = second; setAt(second); follow(); };
  const move = event => {
    if (event.buttons !== 1 || !before) return;
    const {left, width} = board.current.getBoundingClientRect();
    setWipe(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width))));
  };
  return html`
    <div class="compare" role="group" aria-label=${before ? t('result.compare') : t('result.player')}>
      <div class="films" ref=${board} style=${`aspect-ratio:${shape}`} onPointerDown=${event => { if (before) { event.currentTarget.setPointerCapture(event.pointerId); move(event); } }} onPointerMove=${move}>
        <video ref=${front} src=${after} playsinline preload="auto" muted=${isMuted} aria-label=${t('result.after')}
          onLoadedMetadata=${event => { setSeconds(event.target.duration); setShape(`${event.target.videoWidth} / ${event.target.videoHeight}`); }}
          onTimeUpdate=${event => { setAt(event.target.currentTime); ofResult.hasGoneOn(event); follow(); }} onSeeked=${follow}
          onPlay=${() => setPlaying(true)} onPause=${() => { setPlaying(false); back.current?.pause(); }} onEnded=${() => setPlaying(false)}
          onError=${ofResult.hasFailed}></video>
        ${before && html`
          <input class="veiled" type="range" min="0" max="100" value=${wipe} aria-label=${t('result.wipe')} aria-valuetext=${`${wipe}%`} onInput=${event => setWipe(Number(event.target.value))} />
          <video ref=${back} src=${before} playsinline preload="auto" muted aria-label=${t('result.before')} style=${`clip-path:inset(0 ${100 - wipe}% 0 0)`}
            onLoadedData=${follow} onTimeUpdate=${ofTarget.hasGoneOn} onError=${ofTarget.hasFailed}></video>
          <span class="cut" style=${`left:${wipe}%`} aria-hidden="true"></span>
          <span class="flag left" aria-hidden="true">${t('result.before')}</span><span class="flag right" aria-hidden="true">${t('result.after')}</span>`}
      </div>
      <div class="line">
        <button type="button" class="round main" aria-label=${isPlaying ? t('result.pause') : t('result.play')} onClick=${toggle}><${Icon} name=${isPlaying ? 'pause' : 'play'} /></button>
        <input class="grow" type="range" min="0" max=${seconds || 1} step="0.01" value=${at} aria-label=${t('result.seek')} aria-valuetext=${clock(at)} onInput=${event => seek(Number(event.target.value))} />
        <span class="digits soft">${clock(at)} / ${clock(seconds)}</span>
        <button type="button" class="round" aria-pressed=${isMuted} aria-label=${t('result.mute')} onClick=${() => setMuted(!isMuted)}><${Icon} name=${isMuted ? 'mute' : 'loud'} /></button>
        <select aria-label=${t('result.speed')} value=${speed} onChange=${event => setSpeed(Number(event.target.value))}>
          ${[0.25, 0.5, 1].map(rate => html`<option key=${rate} value=${rate}>${rate}×</option>`)}
        </select>
      </div>
    </div>`;
}
