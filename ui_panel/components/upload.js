// One file on its way: its row with progress, and what is told when it has arrived.
import {html, length, size, useCallback, useRef, useState, Icon} from './base.js';
import {measured, refusal} from './files.js';
import {Cancelled, Sending} from './sending.js';

const LONG_SECONDS = 600;
const NAME_LENGTH = 200;
let open = 0;

window.addEventListener('beforeunload', event => { if (open) event.preventDefault(); });
/** Other components of this page may want to know whether files are on their way. */
const announce = () => document.dispatchEvent(new CustomEvent('lipswap:uploads', {detail: open}));

/** Files of one slot on their way. `onStored` hears {media, url} of each that has arrived. */
export function useUploads(slot, t, send) {
  const [rows, setRows] = useState([]);
  const [notice, setNotice] = useState(null);
  const local = useRef(new Map());
  const change = (id, changes) => setRows(now => now.map(row => (row.id === id ? {...row, ...changes} : row)));
  const drop = id => setRows(now => now.filter(row => row.id !== id));

  const start = useCallback(async file => {
    const name = file.name.slice(0, NAME_LENGTH);
    const wrong = refusal(slot, file);
    if (wrong) { setNotice({kind: 'bad', words: t(wrong, {name})}); return; }
    setNotice(null);
    const id = crypto.randomUUID();
    const url = URL.createObjectURL(file);
    const sending = new Sending(slot, file, told => change(id, told));
    setRows(now => [...(slot === 'faces' ? now : []), {id, name, file, url, total: file.size, sent: 0, state: 'starting', sending}]);
    open += 1;
    announce();
    try {
      const facts = await measured(slot, file, url);
      change(id, facts);
      if (facts.seconds > LONG_SECONDS) setNotice({kind: 'warn', words: t('upload.long', {length: length(facts.seconds, t)})});
      const key = await sending.run();
      local.current.set(key, {url, file});
      drop(id);
      if (sending.isResumed) setNotice({kind: 'good', words: t('upload.resumed')});
      send({type: 'stored', slot, media: {key, name, size: file.size, media_type: file.type, ...clean(facts)}});
    } catch (error) {
      if (error instanceof Cancelled) {
        drop(id);
        URL.revokeObjectURL(url);
        setNotice({kind: 'soft', words: t('upload.cancelled')});
      } else {
        const reason = error.status === 401 ? t('upload.signed_out') : error.message || t('upload.no_storage');
        change(id, {state: 'failed', reason: t('upload.failed', {name, reason})});
      }
    } finally {
      open -= 1;
      announce();
    }
  }, []);

  return {rows, notice, setNotice, start, drop, local: local.current};
}

// The server refuses what is no number of pixels or seconds.
const clean = facts => Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== null && value !== undefined));

export function Row({row, t, onAgain, onDrop}) {
  const percent = Math.floor(100 * row.sent / Math.max(1, row.total));
  const words = {
    starting: t('upload.starting'),
    waiting: t('upload.waiting'),
    finishing: t('upload.finishing'),
    failed: row.reason,
    sending: row.left === null || row.left === undefined ? t('upload.starting')
      : t('upload.progress', {percent, rate: size(row.rate, t), left: length(row.left, t)}),
  }[row.state];
  return html`
    <div class=${`row ${row.state === 'failed' ? 'bad' : ''}`}>
      <div class="grow">
        <div class="name">${row.name} <span class="soft">${size(row.total, t)}</span></div>
        ${row.state !== 'failed' && html`
          <progress max="100" value=${percent} aria-label=${t('upload.name', {name: row.name})}></progress>`}
        <div class="soft tiny" role=${row.state === 'failed' ? 'alert' : undefined}>${words}</div>
      </div>
      ${row.state === 'failed' && html`<button type="button" class="button" onClick=${onAgain}>${t('upload.again')}</button>`}
      <button type="button" class="round" title=${t('upload.cancel')} aria-label=${t('upload.cancel')}
        onClick=${() => (row.state === 'failed' ? onDrop() : row.sending.cancel())}><${Icon} name="close" /></button>
    </div>`;
}

export const Notice = ({notice}) =>
  html`<div class=${notice ? `notice ${notice.kind}` : 'veiled'} role="status" aria-live="polite">${notice?.words ?? ''}</div>`;
