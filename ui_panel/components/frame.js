// What surrounds everything: where one is, light or dark, tasks that run, and what keeps a tab alive over reloads.
import {html, mount, kept, tab, browser, useEffect, useRef, useState, Icon} from './base.js';

export const render = given => mount(given, Frame);

const LONGEST_PAUSE = 5000;
const MOST_MINE = 50;
const OPEN = ['pending', 'running'];

function Frame({shown, t, send, view}) {
  const [isDark, setDark] = useState(document.documentElement.dataset.theme === 'dark');
  const [isLost, setLost] = useState(false);
  const [isOffline, setOffline] = useState(!navigator.onLine);
  const top = useRef(null);

  useEffect(() => {
    // What the tab had kept is told before anything is kept anew.
    const inputs = kept.read(tab, 'inputs') ?? {};
    const name = kept.read(browser, 'name') ?? '';
    send({type: 'kept', ...inputs, declared_by: inputs.declared_by || name, mine: kept.read(browser, 'mine') ?? []});
    send({type: 'theme', is_dark: document.documentElement.dataset.theme === 'dark'});
    const moved = () => setOffline(!navigator.onLine);
    const back = () => send(placeIn(location.search));
    window.addEventListener('online', moved);
    window.addEventListener('offline', moved);
    window.addEventListener('popstate', back);
    const system = matchMedia('(prefers-color-scheme: dark)');
    const follow = event => { if (!localStorage.getItem('lipswap.theme')) paint(event.matches); };
    system.addEventListener('change', follow);
    watchConnection(view, setLost);
  }, []);

  useEffect(() => { if (shown.kept) kept.write(tab, 'inputs', shown.kept); }, [shown.kept]);
  useEffect(() => { if (shown.kept?.declared_by) kept.write(browser, 'name', shown.kept.declared_by); }, [shown.kept?.declared_by]);
  const mine = useRef([]);
  useEffect(() => {
    if (!shown.mine) return;
    // Another tab of this browser has started tasks, too.
    const gone = mine.current.filter(task => !shown.mine.includes(task));
    const others = (kept.read(browser, 'mine') ?? []).filter(task => !gone.includes(task));
    mine.current = shown.mine;
    kept.write(browser, 'mine', [...new Set([...shown.mine, ...others])].slice(0, MOST_MINE));
  }, [shown.mine]);
  useEffect(() => { if (shown.must_reload) location.reload(); }, [shown.must_reload]);

  // The address always leads back to what is seen.
  useEffect(() => {
    const address = new URL(location.href);
    address.searchParams.delete('task');
    address.searchParams.delete('place');
    if (shown.place === 'task' && shown.task_id) address.searchParams.set('task', shown.task_id);
    if (shown.place === 'history') address.searchParams.set('place', 'history');
    if (address.href !== location.href) history.pushState(null, '', address);
    top.current?.scrollIntoView?.();
  }, [shown.place, shown.task_id]);

  useTold(shown, t);

  function paint(dark) {
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    document.cookie = `lipswap_theme=${dark ? 'dark' : 'light'}; path=/; max-age=31536000; samesite=lax`;
    setDark(dark);
    send({type: 'theme', is_dark: dark});
  }
  const toggle = () => { try { localStorage.setItem('lipswap.theme', isDark ? 'light' : 'dark'); } catch { /* not remembered */ } paint(!isDark); };
  const other = new URL(location.href);
  other.searchParams.set('lang', shown.language === 'ja' ? 'en' : 'ja');

  return html`
    <div class="frame" ref=${top}>
      <header class="bar">
        <h1 class="brand"><img src=${new URL('./icon.svg', import.meta.url)} alt="" width="30" height="30" /> <span>${t('page.title')}</span></h1>
        <nav aria-label=${t('page.nav')}>
          ${['compose', 'history'].map(place => html`
            <button key=${place} type="button" class="tab" aria-current=${shown.place === place ? 'page' : undefined}
              onClick=${() => send({type: 'show', place})}>${t(place === 'compose' ? 'page.create' : 'page.history')}</button>`)}
        </nav>
        <span class="grow"></span>
        <a class="quiet" href=${other.href} lang=${shown.language === 'ja' ? 'en' : 'ja'} title=${t('page.language_name')}>${t('page.language')}</a>
        <button type="button" class="round" title=${t('page.theme')} aria-label=${isDark ? t('page.theme_light') : t('page.theme_dark')} onClick=${toggle}>
          <${Icon} name=${isDark ? 'sun' : 'moon'} /></button>
        ${shown.user && html`<a class="quiet" href="logout" title=${t('page.signed_in', {user: shown.user})}>${t('page.sign_out')}</a>`}
      </header>
      ${(isLost || isOffline || shown.is_away) && html`
        <div class="banner" role="status"><${Icon} name="alert" /> ${isOffline ? t('page.offline') : isLost ? t('page.lost') : t('page.away')}</div>`}
      ${shown.running.length > 0 && html`
        <div class="tasks"><span class="soft">${t('page.running')}</span>
          ${shown.running.map(task => html`
            <button key=${task.task_id} type="button" class="chip" onClick=${() => send({type: 'show', place: 'task', task_id: task.task_id})}>
              <span class="ring" style=${`--part:${task.percent}%`} aria-hidden="true"></span>
              <span class="name">${task.name || task.task_id.slice(0, 8)}</span> <span class="digits">${Math.floor(task.percent)}%</span>
            </button>`)}
        </div>`}
      ${shown.ended.length > 0 && html`
        <div class="tasks" role="status">
          ${shown.ended.map(task => html`
            <button key=${task.task_id} type="button" class=${`chip ended ${task.status}`} onClick=${() => send({type: 'show', place: 'task', task_id: task.task_id})}>
              <${Icon} name=${task.status === 'completed' ? 'check' : 'alert'} /><span class="name">${task.name || task.task_id.slice(0, 8)}</span> <span>${t(`status.${task.status}`)}</span>
            </button>`)}
        </div>`}
    </div>`;
}

function placeIn(search) {
  const asked = new URLSearchParams(search);
  if (asked.get('task')) return {type: 'show', place: 'task', task_id: asked.get('task')};
  return {type: 'show', place: asked.get('place') === 'history' ? 'history' : 'compose'};
}

/** The tab's title says how far it is; the end is told by the browser when nobody looks. */
function useTold(shown, t) {
  const before = useRef(new Map());
  const {task} = shown;
  const tasks = [...shown.running, ...shown.ended, ...(task ? [task] : [])];
  useEffect(() => {
    const badge = !task ? '' : {pending: '… ', running: `${Math.floor(task.percent)}% `, completed: '✓ ', failed: '! ', cancelled: ''}[task.status];
    document.title = `${badge}${t('page.title')}`;
  }, [task?.status, task && Math.floor(task.percent)]);
  useEffect(() => {
    const was = before.current;
    before.current = new Map(tasks.map(({task_id, status}) => [task_id, status]));
    for (const [task_id, status] of before.current) {
      const hasEnded = OPEN.includes(was.get(task_id)) && ['completed', 'failed'].includes(status);
      if (hasEnded && document.hidden && globalThis.Notification?.permission === 'granted') {
        const title = t(status === 'completed' ? 'task.ready_title' : 'task.failed_title');
        const told = new Notification(title, {tag: task_id, body: tasks.find(one => one.task_id === task_id).name});
        told.onclick = () => { window.focus(); told.close(); };
      }
    }
  }, [tasks.map(one => one.task_id + one.status).join()]);
}

/** A lost websocket does not come back by itself (panel #6584): ask until the server answers, then load the page again. */
function watchConnection(view, setLost) {
  let isLeaving = false;
  window.addEventListener('pagehide', () => { isLeaving = true; });
  view.model.document.on_event('connection_lost', async () => {
    setLost(true);
    for (let turn = 0; !isLeaving; turn += 1) {
      await new Promise(done => setTimeout(done, Math.min(500 * 2 ** turn, LONGEST_PAUSE)));
      try {
        const answer = await fetch(new URL('door/alive', document.baseURI), {cache: 'no-store'});
        if (answer.ok) { isLeaving = true; location.reload(); }
      } catch { /* still away */ }
    }
  });
}
