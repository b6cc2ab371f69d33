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
    q: () => go("q"),
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
    const run = event.timeStamp - led < 1500 && "jdsw".includes(event.key) ? () => go(`g ${event.key}`) : keys[event.key];
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

  // A tick makes htmx fetch the page and lay what is new over what is there; not while nobody looks, and not while
  // somebody is about to act on what is there.
  let last = Date.now();
  setInterval(() => {
    const seconds = one("#live")?.dataset.live;
    if (!seconds || document.hidden || picked().length || one("dialog[open]")) return;
    if (document.activeElement.matches("#q") || Date.now() - last < seconds * 1000) return;
    last = Date.now();
    document.body.dispatchEvent(new CustomEvent("tick"));
  }, 1000);
  document.addEventListener("htmx:after:swap", ready);
  ready();
})();
