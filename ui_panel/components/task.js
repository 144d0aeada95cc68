// A task: where it stands while it runs, what came out, and what can be done with it.
import {html, mount, when, useEffect, useRef, useState, Icon} from './base.js';
import {Compare} from './comparing.js';

export const render = given => mount(given, Task);

function Task({shown, t, send}) {
  if (!shown.is_here) return null;
  const on = type => () => send({type, task_id: shown.task_id});
  const afresh = html`<button type="button" class="button" onClick=${() => send({type: 'afresh'})}>${t('task.new')}</button>`;
  if (shown.is_unknown) {
    return html`<div class="stack"><section class="card empty"><h2>${t('task.title')}</h2><div class="notice bad" role="alert">${shown.trouble}</div><div class="line">${afresh}</div></section></div>`;
  }
  if (!shown.status) {
    return html`<div class="stack"><section class="card empty" role="status"><span class="spin" aria-hidden="true"></span> ${shown.trouble ?? t('task.loading')}</section></div>`;
  }
  const isOpen = ['pending', 'running'].includes(shown.status);
  return html`
    <div class="stack">
      ${shown.result ? html`<${Result} shown=${shown} t=${t} send=${send} on=${on} />` : html`<${Progress} shown=${shown} t=${t} on=${on} isOpen=${isOpen} />`}
      ${shown.fault && html`<div class="notice bad" role="alert">${shown.fault}</div>`}
      <section class="card">
        <div class="line wrap">
          ${shown.may.again && html`<button type="button" class="button" disabled=${shown.is_busy} onClick=${on('again')}>${t('task.again')}</button>`}
          ${shown.may.change && html`<button type="button" class="button" onClick=${on('change')}>${t('task.change')}</button>`}
          ${afresh}
          <span class="grow"></span>
          ${shown.operator_url && html`<a class="quiet" href=${shown.operator_url} target="_blank" rel="noopener noreferrer">${t('task.operator')} ↗</a>`}
          ${shown.may.delete && html`<${Sure} words=${t('task.delete')} question=${t('task.delete_sure')} leave=${t('task.delete_no')} isBad onYes=${on('delete')} />`}
        </div>
        <details><summary>${t('result.curl')}</summary><${Copyable} text=${shown.curl} t=${t} /></details>
        ${!isOpen && html`<details><summary>${t('task.messages_over')}</summary><${Messages} messages=${shown.messages} /></details>`}
      </section>
    </div>`;
}

function Progress({shown, t, on, isOpen}) {
  const [isTold, setTold] = useState(globalThis.Notification?.permission === 'granted');
  const title = {pending: t('task.working'), running: t('task.working'), failed: t('task.failed'), cancelled: t('task.cancelled'), completed: t('result.title')}[shown.status];
  const link = new URL(`?task=${shown.task_id}`, document.baseURI).href;
  // A step that begins says its own name: seen in the list already, it is only for those who listen.
  const latest = shown.messages.at(-1)?.message ?? '';
  const isSeen = shown.stages.some(stage => stage.title === latest);
  return html`
    <section class="card" aria-labelledby="progress">
      <div class="line wrap between"><h2 id="progress">${title}</h2><span class="soft">${shown.name} · ${t('task.started', {time: when(shown.started_at)})}</span></div>
      ${shown.error && html`
        <div class="notice bad" role="alert"><${Icon} name="alert" /><div class="grow"><p class="strong">${shown.error.sentence}</p>
          ${shown.error.is_retryable && html`<p>${t('task.try_again')}</p>`}<p class="tiny soft">${t('task.code', {code: shown.error.code})}</p></div></div>`}
      ${shown.status === 'cancelled' && html`<p class="soft">${t('task.cancelled_words')}</p>`}
      ${isOpen && html`
        <div class="meter"><span class="figure digits">${Math.floor(shown.percent)}<small>%</small></span>
          <div class="grow"><progress max="100" value=${shown.percent} aria-label=${t('task.percent')}></progress>
            <div class="line between soft"><span>${shown.position ? t('task.position', {position: shown.position}) : shown.status === 'pending' ? t('task.waiting') : ''}</span><span>${shown.left}</span></div></div></div>`}
      <ol class="stages" aria-label=${t('task.stages')}>
        ${shown.stages.map(stage => html`
          <li key=${stage.name} class=${stage.stands} aria-current=${stage.stands === 'now' && isOpen ? 'step' : undefined}>
            <span class="dot" aria-hidden="true">${stage.stands === 'done' ? html`<${Icon} name="check" />` : stage.stands === 'stopped' ? html`<${Icon} name="close" />` : ''}</span>
            <span>${stage.title}</span><span class="veiled">${t(`task.stage_${stage.stands === 'stopped' ? 'now' : stage.stands}`)}</span>
          </li>`)}
      </ol>
      ${shown.trouble && html`<div class="notice warn" role="status">${shown.trouble}
        ${shown.is_over && html`<button type="button" class="link" onClick=${on('look')}>${t('task.look')}</button>`}</div>`}
      ${isOpen && html`
        <div class=${isSeen ? 'veiled' : undefined} role="status" aria-live="polite">${latest}</div>
        <details><summary>${t('task.messages')}</summary><${Messages} messages=${shown.messages} /></details>
        <div class="line wrap">
          <span class="soft">${t('task.leave')}</span><${Copy} text=${link} words=${t('task.copy_link')} t=${t} />
          ${globalThis.Notification && (isTold ? html`<span class="soft">${t('task.notify_on')}</span>`
            : html`<button type="button" class="link" onClick=${async () => setTold((await Notification.requestPermission()) === 'granted')}>${t('task.notify')}</button>`)}
          <span class="grow"></span>
          ${shown.may.cancel && html`<${Sure} words=${t('task.cancel')} question=${t('task.cancel_sure')} leave=${t('task.cancel_no')} onYes=${on('cancel')} />`}
        </div>`}
      ${shown.log && html`<details><summary>${t('task.log')}</summary><pre class="code" tabindex="0">${shown.log}</pre></details>`}
    </section>`;
}

function Result({shown, t, send, on}) {
  const {result, badge, quality} = shown;
  return html`
    <section class="card result" aria-labelledby="result">
      <div class="line wrap between"><h2 id="result">${t('result.title')}</h2><span class="soft">${shown.name} · ${result.length}</span></div>
      <${Compare} key=${shown.task_id} before=${result.target_url} after=${result.url} startsAt=${result.starts_at} t=${t} onExpired=${on('look')} />
      ${result.target_url && html`<p class="soft tiny">${t('result.compare_hint')}</p>`}
      <div class="line wrap">
        <a class="button main large" href=${new URL(result.download, document.baseURI)} download=${result.filename}>${t('result.download')}</a>
        <${Copy} text=${new URL(`?task=${shown.task_id}`, document.baseURI).href} words=${t('task.copy_link')} t=${t} />
      </div>
    </section>
    <div class="columns">
      <section class="card" aria-labelledby="quality"><h2 id="quality">${t('quality_report.title')}</h2>
        ${quality ? html`<p><span class=${`verdict ${quality.verdict}`}>${quality.word}</span></p>
          <ul class="facts">${quality.figures.map(figure => html`<li key=${figure}>${figure}</li>`)}</ul>
          ${quality.reasons.map(reason => html`<p key=${reason} class="notice warn">${reason}</p>`)}` : html`<p class="soft">${t('quality_report.none')}</p>`}
      </section>
      ${badge && html`
        <section class="card" aria-labelledby="badge"><h2 id="badge" class=${badge.is_signed ? 'signed' : ''}><${Icon} name="shield" /> ${badge.is_signed ? t('badge.signed') : t('badge.unsigned')}</h2>
          ${badge.models.length > 0 && html`<p class="soft">${t('badge.models')}</p>
            <ul class="facts">${badge.models.map(one => html`<li key=${one.stage}><strong>${t(`task.stage_${one.stage}`)}</strong>${one.engine ? `: ${t(`badge.engine_${one.engine}`)}` : ''}
              ${one.models.length > 0 && html`<div class="soft tiny">${one.models.join(', ')}</div>`}</li>`)}</ul>`}
          ${badge.verdict && html`<div class=${`notice ${badge.verdict.is_good ? 'good' : 'warn'}`} role="status">${badge.verdict.sentence} ${badge.verdict.note}</div>`}
          ${shown.may.verify && html`<button type="button" class="button" disabled=${badge.is_verifying} onClick=${on('verify')}>${badge.is_verifying ? t('badge.verifying') : t('badge.verify')}</button>`}
        </section>`}
    </div>`;
}

const Messages = ({messages}) => html`
  <ol class="messages">${messages.map((entry, at) => html`<li key=${at}><time class="soft digits">${new Date(entry.at).toLocaleTimeString(document.documentElement.lang)}</time> ${entry.message}</li>`)}</ol>`;

/** A button that asks once before it does what cannot be undone. */
function Sure({words, question, leave, onYes, isBad}) {
  const dialog = useRef(null);
  return html`
    <button type="button" class=${`button ${isBad ? 'bad' : ''}`} onClick=${() => dialog.current.showModal()}>${words}</button>
    <dialog ref=${dialog} aria-label=${words}><p>${question}</p><form method="dialog" class="line end">
      <button class="button" value="no">${leave}</button><button class=${`button ${isBad ? 'bad' : 'main'}`} value="yes" onClick=${onYes}>${words}</button></form></dialog>`;
}

function Copy({text, words, t}) {
  const [isDone, setDone] = useState(false);
  useEffect(() => { if (!isDone) return undefined; const late = setTimeout(() => setDone(false), 2500); return () => clearTimeout(late); }, [isDone]);
  const copy = async () => { try { await navigator.clipboard.writeText(text); setDone(true); } catch { setDone(false); } };
  return html`<button type="button" class="button" onClick=${copy} aria-live="polite">${isDone ? t('task.copied') : words}</button>`;
}

const Copyable = ({text, t}) => html`<pre class="code" tabindex="0">${text}</pre><${Copy} text=${text} words=${t('result.copy')} t=${t} />`;
