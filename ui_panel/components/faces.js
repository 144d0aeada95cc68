// The card of the sources: pictures of the people that should appear.
import {html, mount, useState, Icon} from './base.js';
import {Drop, usePaste} from './files.js';
import {Recorder} from './recording.js';
import {Notice, Row, useUploads} from './upload.js';

export const render = given => mount(given, Faces);

function Faces({shown, t, send}) {
  const {rows, notice, setNotice, start, drop, local} = useUploads('faces', t, send);
  const [isRecording, setRecording] = useState(false);
  const faces = shown.faces ?? [];
  const take = files => {
    const room = shown.most - faces.length - rows.length;
    if (files.length > room) setNotice({kind: 'warn', words: t('upload.too_many', {count: shown.most})});
    files.slice(0, Math.max(0, room)).forEach(start);
  };
  usePaste('faces', files => { if (shown.is_here) take(files); });
  if (!shown.is_here) return null;
  const isEmpty = faces.length === 0 && rows.length === 0;
  return html`
    <section class="card input" aria-label=${t('faces.title')}>
      <header class="head">
        <span class=${`step ${faces.length ? 'done' : ''}`} aria-hidden="true">${faces.length ? html`<${Icon} name="check" />` : shown.step}</span>
        <div class="grow"><h2>${t('faces.title')} <span class="tag">${t('faces.optional')}</span></h2><p class="soft">${t('faces.hint')}</p></div>
      </header>
      ${isRecording && html`<${Recorder} slot="faces" t=${t} onFile=${file => { setRecording(false); take([file]); }} onLeave=${() => setRecording(false)} />`}
      ${faces.length > 0 && html`
        <ul class="portraits">
          ${faces.map((face, place) => html`
            <li key=${face.key}>
              <img src=${local.get(face.key)?.url ?? face.url} alt=${t('faces.source', {number: place + 1})} loading="lazy" />
              <span class="tiny name">${face.name}</span>
              <button type="button" class="round" title=${t('media.remove', {name: face.name})} aria-label=${t('media.remove', {name: face.name})}
                onClick=${() => send({type: 'removed', slot: 'faces', place})}><${Icon} name="close" /></button>
            </li>`)}
        </ul>`}
      ${rows.map(one => html`<${Row} key=${one.id} row=${one} t=${t} onDrop=${() => drop(one.id)} onAgain=${() => { drop(one.id); start(one.file); }} />`)}
      ${!isRecording && faces.length < shown.most && html`
        <${Drop} slot="faces" many isSmall=${!isEmpty} title=${t('faces.drop')} formats=${t('faces.formats')} choose=${t('media.choose_many')}
          paste=${t('media.or_paste')} onFiles=${take} onRecord=${() => setRecording(true)} record=${t('faces.record')} />`}
      <${Notice} notice=${notice} />
    </section>`;
}
