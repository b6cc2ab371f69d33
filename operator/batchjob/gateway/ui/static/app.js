// What plain links and forms cannot do: keys, a count on the buttons, copying, and pages that stay fresh.
// Pages work without it. Nothing here decides anything: it follows links and presses buttons that are on the page.
(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const one = (what) => document.querySelector(what);
  const rows = () => all("main a.row");
  const boxes = () => all('main input[name="job"][type="checkbox"]');
  const picked = () => boxes().filter((box) => box.checked);
  const current = () => document.activeElement.closest("tr");

  // The buttons say how many they are for; without a choice there is nothing to press.
  const count = () => {
    const whole = one('input[name="all"]')?.checked;
    const many = picked().length;
    for (const button of all("button[data-label]")) {
      button.textContent = `${button.dataset.label} ${whole ? "all" : many || ""}`.trim() + "…";
      button.disabled = !whole && !many;
    }
  };
  const ready = () => {
    count();
    if (navigator.clipboard) for (const button of all("[data-copy]")) button.hidden = false;
  };

  const move = (by) => {
    const links = rows();
    if (!links.length) return;
    const at = links.findIndex((link) => link.closest("tr, li") === document.activeElement.closest("tr, li"));
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  const pick = () => {
    const box = current()?.querySelector('input[name="job"]');
    if (box) { box.checked = !box.checked; count(); }
  };
  const press = (action) => {
    if (boxes().length && !picked().length && !one('input[name="all"]')?.checked) pick();
    one(`main button[name="action"][value="${action}"]:not(:disabled)`)?.click();
  };
  const go = (keys) => one(`a[data-go="${keys}"]`)?.click();

  const keys = {
    "/": () => { const field = one("#q"); if (field) { field.focus(); field.select(); } else go("g j"); },
    "?": () => one("#keys")?.showModal(),
    j: () => move(1), k: () => move(-1), x: pick,
    r: () => press("redrive"), c: () => press("cancel"),
    q: () => go("g o"),
  };
  let led = -Infinity; // when g was pressed
  document.addEventListener("keydown", (event) => {
    const there = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
    if (there.matches("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") there.blur();
      return;
    }
    if (event.key === "g") { led = event.timeStamp; return; }
    const page = event.timeStamp - led < 1500 && all("a[data-go]").find((link) => link.dataset.go === `g ${event.key}`);
    const run = page ? () => page.click() : Object.hasOwn(keys, event.key) && keys[event.key];
    led = -Infinity;
    if (run) { event.preventDefault(); run(); }
  });

  document.addEventListener("change", count);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });

  // While a form is on its way its button says so, and a second press does nothing.
  document.addEventListener("submit", (event) => {
    const button = event.submitter?.closest("[data-busy]");
    if (!button) return;
    setTimeout(() => { button.disabled = true; }); // what is disabled is not sent
    button.textContent = button.dataset.busy;
  });

  // A tick makes htmx fetch the page and lay what is new over what is there. It comes at most once a second, after a
  // word of the stream, or after some seconds: more of them while the stream is there. Not while nobody looks, and not
  // under somebody's hands. A tab that is hidden listens to nothing: browsers give a host six connections in all.
  const fresh = one("#fresh");
  const say = (text, kind) => { if (fresh) { fresh.textContent = text; fresh.className = kind; fresh.hidden = !text; } };
  let stream = null, closed = 0, changed = false, flying = false, last = Date.now(), stale = "";
  const listen = (path) => {
    if (stream && (!path || stream.readyState === 2)) { closed = Date.now(); stream.close(); stream = null; }
    if (!path || stream || Date.now() - closed < 10000) return;
    stream = new EventSource(path);
    for (const kind of ["open", "changed"]) stream.addEventListener(kind, () => { changed = true; });
  };
  const handled = () => one("dialog[open]") || document.activeElement.matches("#q")
    || !(document.getSelection()?.isCollapsed ?? true);
  setInterval(() => {
    const page = one("#live"), seconds = page?.dataset.live;
    listen(!document.hidden && page?.dataset.stream);
    if (!seconds) { say("", ""); return; }
    const open = stream?.readyState === 1;
    say(stale || (open ? "Live" : `Every ${seconds} s`), stale ? "held" : open ? "good" : "quiet");
    if (document.hidden || flying || handled()) return;
    const pause = stale ? 5 : changed ? 1 : open ? page.dataset.slow : seconds;
    if (Date.now() - last < pause * 1000) return;
    last = Date.now();
    changed = false;
    flying = true;
    document.body.dispatchEvent(new CustomEvent("tick"));
  }, 250);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { changed = true; closed = 0; } });
  addEventListener("pagehide", () => listen(""));
  // Signed out meanwhile: the page asks for it. An error leaves what is there, and says that it is old.
  document.addEventListener("htmx:before:response", (event) => {
    if (event.detail.ctx.response.raw.redirected) { event.preventDefault(); location.reload(); }
  });
  const lost = (event) => {
    const status = event.detail.ctx?.response?.status;
    stale = `Not fresh: ${status === 404 ? "it is gone" : "no answer"}${status ? ` (${status})` : ""}, trying again`;
  };
  document.addEventListener("htmx:response:error", lost);
  document.addEventListener("htmx:error", lost);
  document.addEventListener("htmx:finally:request", () => { flying = false; });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.response?.status < 400) stale = "";
    ready();
  });
  ready();
})();
