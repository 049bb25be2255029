// SPDX-License-Identifier: MIT
// The page without a server: answers come from worker.js, and the settings have a place to choose the model.
'use strict';
globalThis.local = (() => {
  const place = 'bitnet.model'; // the address of the last one, in the browser's storage
  const first = 'tiny.gguf';
  let current = null; // {worker, source, name, about}
  let opening = null; // a promise
  let asked = 0;      // the id of the last answer
  let busy = null;    // takes what the worker says of it

  // How many threads the worker may have, if the page is isolated: half of what the browser counts, for it counts hyperthreads,
  // and both of two. `?threads=` behind the page's address says another number.
  function threads() {
    const asked = Math.floor(new URLSearchParams(location.search).get('threads'));
    const all = navigator.hardwareConcurrency ?? 1;
    return Math.min(asked || Math.min(Math.max(all >> 1, 2), all, 8), 32);
  }

  // A worker for each model, since the memory of a module never shrinks.
  function open(source, onProgress) {
    const worker = new Worker('worker.js');
    const name = (typeof source === 'string' ? source : source.name).split('/').pop().replace(/\.gguf$/, '');
    return new Promise((resolve, reject) => {
      let about = null;
      const fail = sentence => { worker.terminate(); reject(new Error(sentence)); };
      worker.onerror = event => fail(event.message || 'worker.js cannot be loaded');
      worker.onmessage = ({data}) => {
        if (about) busy?.(data);
        else if (data.progress !== undefined) onProgress(`${data.progress} % of ${name}`);
        else if (data.opened) resolve({worker, source, name, about: about = data.opened});
        else fail(data.refused ?? data.dead);
      };
      worker.postMessage({open: source, threads: threads()});
    });
  }

  let state, address, picked, format; // elements
  function say(text, isError) {
    state.textContent = text;
    state.className = isError ? 'error' : '';
  }
  // The new model takes the place of the old one when it is open, and not where it fails.
  async function change(source) {
    try {
      const next = await open(source, say);
      if (current) running?.abort();
      current?.worker.terminate();
      current = next;
      if (typeof source === 'string') try { localStorage.setItem(place, source); } catch (ignored) { }
      say(`${next.name}, by ${next.about.isa}, ${next.about.threads > 1 ? next.about.threads + ' threads' : 'one thread'}`);
      document.title = byId('model').textContent = next.name;
    } catch (failure) { say(failure.message, true); }
    return current;
  }
  function choose(source) { return opening = (opening ?? Promise.resolve()).then(() => change(source)); }
  function lastAddress() {
    try { return localStorage.getItem(place) ?? first; } catch (ignored) { return first; }
  }

  function addModelChoice() {
    byId('key').closest('label').style.display = 'none'; // there is nobody to ask for one
    state = element('span', {id: 'model_state', role: 'status'});
    address = element('input', {id: 'model_address', placeholder: first, value: lastAddress()});
    picked = element('input', {id: 'model_file', type: 'file', accept: '.gguf'});
    format = element('input', {id: 'chat_format', placeholder: 'as the file says'});
    address.onchange = () => choose(address.value.trim() || first);
    picked.onchange = () => { if (picked.files[0]) choose(picked.files[0]); };
    const forget = button('Forget models kept by the browser', () => caches.delete('bitnet.models').then(() => say('forgotten')));
    if (!globalThis.caches) forget.style.display = 'none'; // as where the page came over plain HTTP from another machine
    byId('settings').prepend(
      element('label', {}, 'Model: a file of yours (GGUF), which stays on this machine', picked),
      element('label', {}, 'or its address beside this page', address),
      element('label', {}, state), element('label', {}, 'How dialogs are written: bitnet, llama3, falcon3 or chatml', format), element('label', {}, forget));
  }

  return {
    async start() {
      addModelChoice();
      say('loading');
      await choose(address.value);
      if (!current && address.value !== first) await choose(first);
      if (!current) throw new Error(byId('model').textContent = state.textContent);
      return current.name;
    },

    // Chunks of an answer, as a server streams them.
    async *answer(body, signal) {
      const aborted = new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))));
      aborted.catch(() => { });
      await Promise.race([opening, aborted]);
      if (!current) throw new Error(state.textContent);
      const {worker, source} = current, id = ++asked, said = [];
      let wake = () => { };
      busy = data => { if (data.id === id) { said.push(data); wake(); } };
      worker.postMessage({ask: {...body, chat_format: format.value.trim() || undefined}, id});
      try {
        for (;;) {
          while (!said.length) await Promise.race([new Promise(resolve => { wake = resolve; }), aborted]);
          const data = said.shift();
          if (data.chunk) yield data.chunk;
          if (data.ended) return;
          if (data.refused) throw new Error(data.refused);
          if (data.dead) {
            worker.terminate(); // it and its helpers hold all of the module's memory
            if (current?.worker === worker) { current = null; choose(source); }
            throw new Error(data.dead);
          }
          signal.throwIfAborted();
        }
      } finally { if (signal.aborted) worker.postMessage({stop: id}); }
    }
  };
})();
