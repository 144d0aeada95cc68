// What can be chosen between the inputs and the button, a look at what would come out, and the button.
import {html, mount, clock, useEcho, useEffect, useRef, useState, Icon} from './base.js';

export const render = given => mount(given, Choices);

function Choices({shown, t, send}) {
  const [uploads, setUploads] = useState(0);
  useEffect(() => {
    const listen = event => setUploads(event.detail);
    document.addEventListener('lipswap:uploads', listen);
    return () => document.removeEventListener('lipswap:uploads', listen);
  }, []);
  if (!shown.is_here) return null;
  const isReady = shown.missing.length === 0 && uploads === 0 && !shown.is_sending && !shown.is_away;
  return html`
    <div class="stack flush">
      ${shown.cast.is_shown && html`<${Cast} cast=${shown.cast} t=${t} send=${send} />`}
      <div class="columns">
        <div class="stack">
          <${Quality} shown=${shown} t=${t} send=${send} />
          ${shown.sync.is_shown && html`<${Sync} sync=${shown.sync} t=${t} send=${send} />`}
        </div>
        <div class="stack">
          ${shown.preview.is_shown && html`<${Preview} preview=${shown.preview} t=${t} send=${send} />`}
          <${ConsentCard} consent=${shown.consent} t=${t} send=${send} />
        </div>
      </div>
      ${shown.warnings.map(words => html`<div key=${words} class="notice warn"><${Icon} name="alert" /> ${words}</div>`)}
      ${shown.trouble && html`
        <div class="notice bad" role="alert"><${Icon} name="alert" /><span class="grow">${shown.trouble.sentence}</span>
          <button type="button" class="link" onClick=${() => send({type: 'dismiss'})}>${t('page.dismiss')}</button></div>`}
      <div class="launch">
        <div class="grow soft" role="status">
          ${shown.missing.length > 0
            ? html`${t('run.missing')} ${shown.missing.map((name, at) => html`<span key=${name}>${at ? ', ' : ''}<strong>${t(`run.missing_${name}`)}</strong></span>`)}`
            : uploads > 0 ? t('run.uploading') : t('run.ready')}
        </div>
        <button type="button" class="button main large" disabled=${!isReady} onClick=${() => send({type: 'run'})}>
          ${shown.is_sending ? t('run.sending') : t('run.start')}</button>
      </div>
    </div>`;
}

function Cast({cast, t, send}) {
  const [chosen, setChosen] = useState(null);
  const faces = cast.faces ?? [];
  const open = faces.find(face => face.position === chosen);
  return html`
    <section class="card" aria-labelledby="cast">
      <h2 id="cast">${t('cast.title')}</h2>
      <p class="soft">${cast.is_missing ? t('cast.missing') : t('cast.lead')}</p>
      ${cast.is_finding && html`<div class="soft" role="status"><span class="spin" aria-hidden="true"></span> ${t('cast.finding')}</div>`}
      ${cast.trouble && html`<div class="notice warn">${cast.trouble.sentence}
        <button type="button" class="link" onClick=${() => send({type: 'find_faces'})}>${t('cast.again')}</button></div>`}
      ${cast.faces && faces.length === 0 && html`<div class="notice warn">${t('cast.none')}</div>`}
      <div class="cast">
        ${faces.map(face => html`
          <button key=${face.position} type="button" class="person" aria-pressed=${chosen === face.position}
            aria-label=${t('cast.face', {number: face.position + 1, percent: face.percent})}
            onClick=${() => setChosen(chosen === face.position ? null : face.position)}>
            <img src=${face.url} alt="" loading="lazy" />
            ${face.source !== null && cast.sources[face.source] && html`<img class="becomes" src=${cast.sources[face.source].url} alt="" />`}
            <span class="tiny">${face.position + 1}</span>
          </button>`)}
      </div>
      ${open && html`<${Becomes} key=${open.position} face=${open} sources=${cast.sources} t=${t} send=${send} />`}
    </section>`;
}

function Becomes({face, sources, t, send}) {
  const [chosen, choose] = useEcho(face.source);
  return html`
    <fieldset class="options">
      <legend>${t('cast.becomes', {number: face.position + 1})}</legend>
      ${[null, ...sources.keys()].map(source => html`
        <label key=${source} class=${`chip ${chosen === source ? 'chosen' : ''}`}>
          <input type="radio" name=${`cast-${face.position}`} checked=${chosen === source}
            onChange=${() => { choose(source); send({type: 'cast', position: face.position, source}); }} />
          ${source === null ? t('cast.stays') : html`${sources[source].url && html`<img src=${sources[source].url} alt="" width="28" height="28" />`} ${t('cast.as', {number: source + 1, name: sources[source].name})}`}
        </label>`)}
    </fieldset>`;
}

function Quality({shown, t, send}) {
  const [chosen, choose] = useEcho(shown.quality.find(one => one.is_chosen)?.value);
  const [retains, retain] = useEcho(shown.retains);
  return html`
    <fieldset class="card">
      <legend>${t('quality.title')}</legend>
      ${!shown.tells_costs && html`<p class="soft">${t('quality.missing')}</p>`}
      <div class="options tall">
        ${shown.quality.map(one => html`
          <label key=${one.value} class=${`option ${chosen === one.value ? 'chosen' : ''}`}>
            <input type="radio" name="preset" value=${one.value} checked=${chosen === one.value} onChange=${() => { choose(one.value); send({type: 'chosen', preset: one.value}); }} />
            <span class="grow"><span class="strong">${one.title}</span><span class="soft">${one.words}</span>
              ${one.reason && html`<span class="warned">${one.reason}</span>`}</span>
            <span class="price cost">${one.cost || (one.is_asking ? html`<span class="spin" role="img" aria-label=${t('quality.asking')}></span>` : '')}</span>
          </label>`)}
      </div>
      ${shown.retains !== null && html`
        <label class="line"><input type="checkbox" checked=${retains} onChange=${event => { retain(event.target.checked); send({type: 'chosen', retains: event.target.checked}); }} />
          <span class="soft">${t('quality.retain')}</span></label>`}
    </fieldset>`;
}

function Sync({sync, t, send}) {
  const [chosen, choose] = useEcho(sync.value);
  const isSame = sync.voice && sync.video && Math.abs(sync.voice - sync.video) < 0.05;
  return html`
    <fieldset class="card">
      <legend>${t('sync.title')}</legend>
      ${sync.voice && sync.video
        ? html`<div class="lengths" aria-hidden="true">
            <span>${t('run.voice')}</span><i style=${`--share:${100 * sync.voice_share}%`}></i><span class="digits">${clock(sync.voice)}</span>
            <span>${t('run.video')}</span><i class="film" style=${`--share:${100 * sync.video_share}%`}></i><span class="digits">${clock(sync.video)}</span>
          </div>`
        : html`<p class="soft">${sync.unknown}</p>`}
      <div class=${`options tall ${isSame ? 'soft' : ''}`}>
        ${sync.modes.map(mode => html`
          <label key=${mode.value} class=${`option ${chosen === mode.value ? 'chosen' : ''}`}>
            <input type="radio" name="sync" value=${mode.value} checked=${chosen === mode.value} onChange=${() => { choose(mode.value); send({type: 'chosen', sync_mode: mode.value}); }} />
            <span class="grow"><span class="strong">${mode.title}</span>
              ${chosen === mode.value && html`<span class="soft">${mode.words}</span>`}</span>
            <span class="price">${mode.length}</span>
          </label>`)}
      </div>
    </fieldset>`;
}

function Preview({preview, t, send}) {
  const [at, setAt] = useState(0);
  const film = preview.made?.media_type.startsWith('video/');
  if (preview.is_missing) return html`<section class="card"><h2>${t('preview.title')}</h2><p class="soft">${t('preview.missing')}</p></section>`;
  return html`
    <section class="card" aria-labelledby="preview">
      <h2 id="preview">${t('preview.title')}</h2>
      <p class="soft">${t('preview.lead')}</p>
      ${preview.longest > 0.5 && html`
        <label class="line"><span class="soft">${t('preview.at')}</span>
          <input class="grow" type="range" min="0" max=${Math.max(0, preview.longest - 0.1)} step="0.1" value=${at} aria-valuetext=${clock(at)} onInput=${event => setAt(Number(event.target.value))} />
          <span class="digits">${clock(at)}</span></label>`}
      <div class="line">
        ${['frame', 'clip'].map(kind => html`
          <button key=${kind} type="button" class="button" disabled=${preview.is_making} onClick=${() => send({type: 'preview', kind, at_seconds: at})}>${t(`preview.${kind}`)}</button>`)}
        ${preview.is_making && html`<span class="soft" role="status"><span class="spin" aria-hidden="true"></span> ${t('preview.making')}</span>`}
      </div>
      ${preview.trouble && html`<div class="notice warn" role="alert">${preview.trouble.sentence}</div>`}
      ${preview.made && html`
        <figure>
          ${film ? html`<video class="film" src=${preview.made.url} controls playsinline autoplay muted loop aria-label=${t('preview.alt')}></video>`
            : html`<img class="film" src=${preview.made.url} alt=${t('preview.alt')} />`}
          <figcaption class="soft tiny"><${Icon} name="shield" /> ${t('preview.note')}</figcaption>
        </figure>`}
    </section>`;
}

function ConsentCard({consent, t, send}) {
  const [chosen, choose] = useEcho(consent.basis);
  const [name, setName] = useState(consent.name);
  const typing = useRef(null);
  const told = useRef(consent.name);
  useEffect(() => { if (consent.name !== told.current) { told.current = consent.name; setName(consent.name); } }, [consent.name]);
  const type = value => {
    setName(value);
    clearTimeout(typing.current);
    typing.current = setTimeout(() => { told.current = value; send({type: 'chosen', declared_by: value}); }, 250);
  };
  return html`
    <fieldset class="card">
      <legend>${t('consent.title')}</legend>
      <p class="soft">${t('consent.lead')}</p>
      <div class="options tall">
        ${consent.bases.map(basis => html`
          <label key=${basis.value} class=${`option ${chosen === basis.value ? 'chosen' : ''}`}>
            <input type="radio" name="basis" value=${basis.value} checked=${chosen === basis.value} onChange=${() => { choose(basis.value); send({type: 'chosen', basis: basis.value}); }} />
            <span class="grow">${basis.words}</span>
          </label>`)}
      </div>
      <label class="field"><span class="strong">${t('consent.name')}</span>
        <input type="text" autocomplete="name" maxlength="200" value=${name} onInput=${event => type(event.target.value)} />
        <span class="soft tiny">${t('consent.name_hint')}</span></label>
      <details><summary>${t('consent.signed')}</summary>
        <ul class="soft">${[1, 2, 3].map(number => html`<li key=${number}>${t(`consent.signed_${number}`)}</li>`)}</ul></details>
    </fieldset>`;
}
