// The words above, and examples for whoever has nothing at hand.
import {html, mount, Icon} from './base.js';

export const render = given => mount(given, Hero);

const PICTURES = {both: ['voice', 'video', 'faces'], lips: ['voice', 'video'], swap: ['video', 'faces']};

function Hero({shown, t, send}) {
  if (!shown.is_here) return null;
  return html`
    <div class=${`hero ${shown.is_large ? 'large' : ''}`}>
      <p class="claim">${t('hero.title')}</p>
      ${shown.is_large && html`<p class="soft lead">${t('hero.lead')}</p>`}
      ${shown.is_large && shown.examples.length > 0 && html`
        <div class="examples">
          <span class="soft">${t('hero.examples')}</span>
          ${shown.examples.map(name => html`
            <button key=${name} type="button" class="chip" disabled=${shown.is_loading} onClick=${() => send({type: 'example', name})}>
              ${PICTURES[name].map(slot => html`<${Icon} key=${slot} name=${slot} />`)}
              ${t(`hero.example_${name}`)}
            </button>`)}
          ${shown.is_loading && html`<span class="soft" role="status">${t('hero.example_loading')}</span>`}
        </div>`}
    </div>`;
}
