// Everything around choosing a file: is it one that fits, how long is it, and a drop zone for mouse, keyboard and paste.
import {html, useEffect, useRef, useState, Icon} from './base.js';

// `never`: what the service refuses after the upload (gpu_tasks/contract/sniffing.py) is refused before it.
const KINDS = {
  voice: {type: 'audio/', accept: 'audio/*,.m4a,.aac,.opus,.flac', names: /\.(wav|mp3|m4a|aac|ogg|oga|opus|flac|mka|webm|mp4|m4v|mov|mkv|avi|ts|mts|m2ts|3gp)$/i, never: /wma|aiff|amr|midi|basic/},
  video: {type: 'video/', accept: 'video/*,.mkv,.ts,.mts,.m2ts', names: /\.(mp4|m4v|mov|webm|mkv|avi|ts|mts|m2ts|3gp)$/i, never: /\/mpeg$|ms-|flv/},
  faces: {type: 'image/', accept: 'image/jpeg,image/png,image/webp,image/heic,image/heif,image/avif,.heic,.heif', names: /\.(jpe?g|png|webp|heic|heif|avif|bmp)$/i, never: /svg|tiff/},
};
const TRANSPORT_STREAM = /\.(ts|mts|m2ts)$/i;
export const accepts = slot => KINDS[slot].accept;

/** Return why a file does not fit a slot, as the name of a sentence; null when it does. */
export function refusal(slot, file) {
  const kind = KINDS[slot];
  if (file.size === 0) return 'upload.empty';
  // A browser may call a film by the name of its container, take it for a text, or not know it: then its own name decides.
  const isKnown = /^(audio|video|image)\//.test(file.type);
  // The sound of a film is a voice, too.
  const isSpoken = slot === 'voice' && file.type.startsWith('video/');
  const fits = isKnown ? file.type.startsWith(kind.type) || isSpoken : kind.names.test(file.name);
  const never = isSpoken ? KINDS.video.never : kind.never;
  // One type stands for two containers, and the service takes one of them.
  const isTaken = file.type === 'video/mpeg' && TRANSPORT_STREAM.test(file.name);
  return fits && (isTaken || !never.test(file.type)) ? null : `upload.wrong_${slot}`;
}

/** What the browser can tell of a file by itself; nothing where it cannot read it. */
export function measured(slot, file, url) {
  return new Promise(done => {
    const give = (facts) => { clearTimeout(late); done(facts); };
    const late = setTimeout(() => give({}), 8000);
    if (slot === 'faces') {
      const image = new Image();
      image.onload = () => give({width: image.naturalWidth, height: image.naturalHeight});
      image.onerror = () => give({});
      image.src = url;
      return;
    }
    const media = document.createElement(slot === 'voice' ? 'audio' : 'video');
    media.preload = 'metadata';
    media.onloadedmetadata = () => {
      const facts = () => ({
        seconds: Number.isFinite(media.duration) ? media.duration : null,
        width: media.videoWidth || null, height: media.videoHeight || null,
      });
      if (Number.isFinite(media.duration)) { give(facts()); return; }
      // A recording does not say how long it is until its end was seen.
      media.ondurationchange = () => { if (Number.isFinite(media.duration)) give(facts()); };
      media.currentTime = 1e7;
    };
    media.onerror = () => give({});
    media.src = url;
  });
}

/** A large place to drop, click, or paste a file; the native input below it serves keyboard and screen readers. */
export function Drop({slot, title, formats, choose, paste, many, onFiles, onRecord, record, isSmall}) {
  const [isOver, setOver] = useState(false);
  const input = useRef(null);
  const take = list => { const files = Array.from(list ?? []); if (files.length) onFiles(many ? files : files.slice(0, 1)); };
  return html`
    <div class=${`drop ${isOver ? 'over' : ''} ${isSmall ? 'small' : ''}`}
      onDragOver=${event => { event.preventDefault(); setOver(true); }}
      onDragLeave=${event => { if (!event.currentTarget.contains(event.relatedTarget)) setOver(false); }}
      onDrop=${event => { event.preventDefault(); setOver(false); take(event.dataTransfer.files); }}>
      <label class="pick">
        <input ref=${input} class="veiled" type="file" accept=${accepts(slot)} multiple=${many} aria-label=${`${title}: ${choose}`}
          onChange=${event => { take(event.target.files); event.target.value = ''; }} />
        <span class="disc"><${Icon} name=${slot} /></span>
        <span class="strong">${title}</span>
        <span class="soft">${formats}</span>
        <span class="button" aria-hidden="true">${choose}</span>
        <span class="soft tiny">${paste}</span>
      </label>
      ${onRecord && html`<button type="button" class="link" onClick=${onRecord}>${record}</button>`}
    </div>`;
}

/** Files that are pasted anywhere on the page, while nobody types. */
export function usePaste(slot, take) {
  useEffect(() => {
    const listen = event => {
      const files = Array.from(event.clipboardData?.files ?? []);
      const fitting = files.filter(file => refusal(slot, file) === null && !(slot === 'voice' && file.type.startsWith('video/')));
      if (fitting.length) { event.preventDefault(); take(fitting); }
    };
    document.addEventListener('paste', listen);
    return () => document.removeEventListener('paste', listen);
  });
}
