// All tasks as cards, newest first.
import {html, mount, when, useEcho, useEffect, useRef, useState, Icon} from './base.js';

export const render = given => mount(given, History);

function History({shown, t, send}) {
  const [filter, choose] = useEcho(shown.filter);
  if (!shown.is_here) return null;
  return html`
    <div class="stack">
      <div class="line wrap between"><h2>${t('history.title')}</h2>
        <fieldset class="options" role="group"><legend class="veiled">${t('history.filter')}</legend>
          ${shown.filters.map(one => html`
            <label key=${one.value} class=${`chip ${filter === one.value ? 'chosen' : ''}`}>
              <input class="veiled" type="radio" name="filter" checked=${filter === one.value} onChange=${() => { choose(one.value); send({type: "filtered", status: one.value}); }} />${one.words}</label>`)}
        </fieldset></div>
      ${shown.is_missing && html`<p class="soft">${t('history.missing')}</p>`}
      ${shown.trouble && html`<div class="notice bad" role="alert">${shown.trouble}</div>`}
      ${shown.cards.length === 0 && html`<div class="card empty soft" role="status">${shown.is_loading ? html`<span class="spin" aria-hidden="true"></span>` : shown.filter ? t('history.empty_filtered') : t('history.empty')}</div>`}
      <ul class="cards">
        ${shown.cards.map(card => html`<li key=${card.task_id}><${Card} card=${card} t=${t} send=${send} /></li>`)}
      </ul>
      ${shown.has_more && html`<div class="line"><button type="button" class="button" disabled=${shown.is_loading} onClick=${() => send({type: 'more'})}>${t('history.more')}</button></div>`}
    </div>`;
}

function Card({card, t, send}) {
  const name = card.name || t('history.name', {time: when(card.created_at)});
  const isOpen = ['pending', 'running'].includes(card.status);
  return html`
    <button type="button" class="tile" onClick=${() => send({type: 'show', place: 'task', task_id: card.task_id})}>
      <${Thumb} url=${card.url} status=${card.status} />
      <span class="body"><span class="strong name">${name}</span>
        <span class="soft tiny">${[card.kind, card.length, when(card.created_at)].filter(Boolean).join(' · ')}</span>
        <span class=${`tag ${card.status}`}>${card.status_word}${isOpen ? ` ${Math.floor(card.percent)}%` : ''}</span>
        ${card.error && html`<span class="soft tiny clamp">${card.error}</span>`}</span>
    </button>`;
}

/** The first picture of a result, fetched only when the card comes into sight. */
function Thumb({url, status}) {
  const place = useRef(null);
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver(([seen]) => { if (seen.isIntersecting) { setNear(true); watcher.disconnect(); } }, {rootMargin: '200px'});
    watcher.observe(place.current);
    return () => watcher.disconnect();
  }, []);
  return html`<span class="thumb" ref=${place}>${isNear && url ? html`<video src=${`${url}#t=0.5`} preload="metadata" muted playsinline tabindex="-1" aria-hidden="true"></video>`
    : html`<${Icon} name=${status === 'failed' ? 'alert' : 'video'} />`}</span>`;
}
