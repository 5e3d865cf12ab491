"use strict";
/* The page of a series. Its data comes as scripts, for a page that is opened from disk may not fetch. No library, no build step.
   What is shown stands in the address after #: q, kernel, state, cell=KERNEL/MODULE. */
(() => {
  const { tonight, nights } = window.kmodlab;
  /* Each state: its sign, which says it without colours, and its class. */
  const LOOKS = {
    "newly broken": ["✘", "bad"], "still broken": ["✗", "bad"], fixed: ["★", "new"], flaky: ["~", "odd"], unstable: ["≈", "odd"],
    "never passed": ["∅", "bad"], "first seen": ["+", "new"], passing: ["✔", "good"], blocked: ["▷", "dim"], skipped: ["–", "dim"],
    "not proved": ["!", "odd"],
  };
  const SIGNS = { ".": ["passed", "good"], F: ["failed", "bad"], "!": ["not proved", "odd"], "-": ["skipped", "dim"], " ": ["not in that night", "dim"] };
  const by = (id) => document.getElementById(id);
  const add = (above, tag, attributes = {}, text) => {
    const element = document.createElementNS(above.namespaceURI === "http://www.w3.org/2000/svg" || tag === "svg"
      ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    above.append(element);
    return element;
  };
  const words = () => new URLSearchParams(location.hash.slice(1));
  const go = (changes, replace) => {
    const now = words();
    for (const [name, value] of Object.entries(changes)) value ? now.set(name, value) : now.delete(name);
    const hash = `#${now}`;
    if (replace) { history.replaceState(null, "", hash); show(); } else location.hash = hash;
  };
  const cellLink = (kernel, module) => {
    const to = words();
    to.set("cell", `${kernel}/${module}`);
    return `#${to}`;
  };
  const when = (run) => run.replace(/^(....)(..)(..)T(..)(..).*/, "$1-$2-$3 $4:$5");

  /* Tonight: on top. */
  const cells = [];
  function top() {
    document.title = `kmodlab: ${tonight.headline}`;
    by("headline").textContent = tonight.headline;
    by("about").textContent = `Night of ${when(tonight.run)}, ${Math.round(tonight.seconds / 60)} min, kmodlab ${tonight.lab}; ${nights.length} nights are known.`;
    const lab = [...tonight.troubles, ...tonight.stale];
    by("lab").hidden = !lab.length;
    for (const line of lab) add(by("lab").querySelector("ul"), "li", { class: "odd" }, line);
    const list = by("news").querySelector("ul");
    for (const [state, kernel, module, line, log] of tonight.news) {
      const item = add(list, "li");
      add(item, "b", { class: LOOKS[state][1] }, `${LOOKS[state][0]} ${state} `);
      add(item, "a", { href: cellLink(kernel, module) }, `${module} on ${kernel}`);
      item.append(` ${line} `);
      if (log) add(item, "a", { href: log }, "log");
    }
    if (!tonight.news.length) add(list, "li", {}, "Nothing: what worked works, and what did not does not.");
  }

  function matrix() {
    const table = by("matrix");
    const head = add(add(table, "thead"), "tr");
    add(head, "th", { scope: "col" }, "module");
    for (const kernel of tonight.kernels) {
      const th = add(head, "th", { scope: "col", title: tonight.releases[kernel] || "" });
      kernel.split("-").forEach((part, n) => { if (n) add(th, "br"); th.append(part); });
    }
    const body = add(table, "tbody");
    tonight.modules.forEach((module, y) => {
      const row = add(body, "tr");
      add(row, "th", { scope: "row" }, module);
      tonight.kernels.forEach((kernel, x) => {
        const td = add(row, "td");
        const found = tonight.cells[y][x];
        if (!found) return;
        const [number, reason] = found, state = tonight.states[number], [sign, look] = LOOKS[state];
        const a = add(td, "a", { href: cellLink(kernel, module), class: look, tabindex: "-1",
          "aria-label": `${module} on ${kernel}: ${state}${reason ? `, ${reason}` : ""}`, title: `${state}${reason ? `: ${reason}` : ""}` }, sign);
        cells.push({ td, row, a, x, y, kernel, module, state, text: `${module} ${kernel} ${reason}`.toLowerCase() });
      });
    });
    if (cells.length) cells[0].a.tabIndex = 0;
    const at = new Map(cells.map((cell) => [`${cell.x},${cell.y}`, cell]));
    table.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      const here = cells.find((cell) => cell.a === document.activeElement);
      if (!step || !here) return;
      let [x, y] = [here.x + step[0], here.y + step[1]], next;
      while (x >= 0 && y >= 0 && x < tonight.kernels.length && y < tonight.modules.length) {
        next = at.get(`${x},${y}`);
        if (next && !next.row.hidden) break;
        next = undefined; x += step[0]; y += step[1];
      }
      event.preventDefault();
      if (next) { here.a.tabIndex = -1; next.a.tabIndex = 0; next.a.focus(); }
    });
    by("legend").textContent = [...new Set(cells.map((cell) => cell.state))].map((state) => `${LOOKS[state][0]} ${state}`).join("   ");
  }

  function filters() {
    for (const kernel of tonight.kernels) add(by("kernel"), "option", { value: kernel }, kernel);
    for (const state of new Set(cells.map((cell) => cell.state))) add(by("state"), "option", { value: state }, state);
    for (const id of ["q", "kernel", "state"]) by(id).addEventListener("input", () => go({ [id]: by(id).value }, true));
    by("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  /* A cell: its module's history on all kernels. */
  const asked = {};
  window.kmodlab.module = (name, data) => { asked[name] = data; show(); };
  function cell(which) {
    const section = by("cell");
    section.hidden = !which;
    if (!which) { delete section.dataset.of; return; }
    const cut = which.indexOf("/"), kernel = which.slice(0, cut), module = which.slice(cut + 1);
    if (!tonight.files.includes(module)) { section.replaceChildren(); add(section, "h2", { id: "cell-title" }, `There is no cell ${which}.`); return; }
    if (!asked[module]) {
      if (!(module in asked)) { asked[module] = null; add(document.head, "script", { src: `data/modules/${encodeURIComponent(module)}.js` }); }
      return;
    }
    if (section.dataset.of === which) return;
    section.dataset.of = which;
    section.replaceChildren();
    add(section, "h2", { id: "cell-title" }, `${module} on ${kernel}`);
    const close = add(section, "button", { type: "button" }, "Close");
    close.addEventListener("click", () => go({ cell: "" }));
    const all = Object.keys(asked[module]);
    for (const each of [kernel, ...all.filter((other) => other !== kernel)]) if (asked[module][each]) past(section, each, module, asked[module][each]);
    section.focus({ preventScroll: true });
    section.scrollIntoView({ block: "nearest" });
  }
  function past(section, kernel, module, data) {
    add(section, "h3", {}, kernel);
    const line = add(section, "p", { class: "nights", "aria-label": `${module} on ${kernel}, oldest night first` });
    const offset = nights.length - data.line.length;
    /* Nights of the same sign are one piece; a night with something to say is a link to its log, or says it on being pointed at. */
    let piece = "";
    const flush = () => { if (piece) add(line, "span", { class: (SIGNS[piece[0]] || SIGNS["!"])[1] }, piece); piece = ""; };
    [...data.line].forEach((sign, n) => {
      const said = data.said[n];
      if (!said) { if (piece && piece[0] !== sign) flush(); piece += sign === " " ? "\u00a0" : sign; return; }
      flush();
      const [stage, reason, log] = said, run = nights[n + offset].run, look = (SIGNS[sign] || SIGNS["!"])[1];
      const label = `${when(run)}: ${(SIGNS[sign] || ["?"])[0]}, ${stage}: ${reason}`;
      log ? add(line, "a", { href: log, class: look, title: label, "aria-label": label }, sign) : add(line, "span", { class: look, title: label }, sign);
    });
    flush();
    const last = Object.entries(data.said).slice(-3).reverse();
    if (last.length) {
      const list = add(section, "ul");
      for (const [n, [stage, reason, log]] of last) {
        const item = add(list, "li", {}, `${when(nights[+n + offset].run)} at ${stage}: ${reason} `);
        if (log) add(item, "a", { href: log }, "log");
      }
    }
    const facts = [`${data.passes} passes in a row`, `${data.flips} changes of verdict in these nights`];
    if (data.release) facts.push(`kernel ${data.release}`);
    if (data.seconds) facts.push(`${data.seconds} s tonight`);
    add(section, "p", { class: "about" }, facts.join("; "));
  }

  /* Trends. */
  function bars(above, label, values, kinds, height = 36) {
    const most = Math.max(1, ...values.map((each) => each.reduce((a, b) => a + b, 0)));
    const svg = add(above, "svg", { viewBox: `0 0 ${values.length * 3} ${height}`, width: Math.min(1100, values.length * 3), height, role: "img", "aria-label": label, preserveAspectRatio: "none" });
    const paths = kinds.map(() => "");
    values.forEach((each, n) => {
      let y = height;
      each.forEach((value, k) => {
        const tall = Math.round((value / most) * height * 10) / 10;
        if (tall) paths[k] += `M${n * 3} ${Math.round((y - tall) * 10) / 10}h2v${tall}h-2z`;
        y -= tall;
      });
    });
    kinds.forEach((kind, k) => { if (paths[k]) add(svg, "path", { d: paths[k], class: kind }); });
  }
  function trends() {
    const above = by("trends"), last = nights[nights.length - 1];
    add(above, "h3", {}, "Cells by night: passed, failed, not proved, skipped");
    bars(above, `Tonight ${last.count[0]} passed, ${last.count[1]} failed, ${last.count[2]} not proved, ${last.count[3]} skipped`, nights.map((each) => each.count), ["pass", "fail", "error", "skip-bar"], 80);
    add(above, "h3", {}, "Minutes by night");
    bars(above, `Tonight ${Math.round(last.seconds / 60)} minutes`, nights.map((each) => [each.seconds / 60]), ["skip-bar"]);
    add(above, "h3", {}, "Failures and flakes by kernel");
    const table = add(add(above, "div", { class: "scroll" }), "table");
    const head = add(add(table, "thead"), "tr");
    for (const title of ["kernel", "release", "failures by night", "failed tonight"]) add(head, "th", { scope: "col" }, title);
    const body = add(table, "tbody");
    for (const kernel of tonight.kernels) {
      const row = add(body, "tr"), failed = nights.map((each) => [each.failed[kernel] || 0]);
      add(row, "th", { scope: "row" }, kernel);
      add(row, "td", {}, tonight.releases[kernel] || "");
      bars(add(row, "td"), `${kernel}: failures by night`, failed, ["fail"], 18);
      add(row, "td", {}, String(failed[failed.length - 1][0]));
    }
    if (tonight.flips.length) {
      add(above, "h3", {}, "What changes its verdict most");
      const list = add(above, "ul");
      for (const [kernel, module, flips] of tonight.flips) add(add(list, "li", {}, `${flips} times: `), "a", { href: cellLink(kernel, module) }, `${module} on ${kernel}`);
    }
  }

  function show() {
    const now = words(), q = (now.get("q") || "").toLowerCase(), kernel = now.get("kernel") || "", state = now.get("state") || "";
    if (by("q").value.toLowerCase() !== q) by("q").value = now.get("q") || "";
    by("kernel").value = kernel; by("state").value = state;
    const rows = new Set();
    let count = 0;
    for (const each of cells) {
      const on = (!q || each.text.includes(q)) && (!kernel || each.kernel === kernel) && (!state || each.state === state);
      each.td.classList.toggle("off", !on);
      if (on) { rows.add(each.row); count++; }
    }
    for (const row of by("matrix").tBodies[0].rows) row.hidden = !rows.has(row);
    by("count").textContent = `${count} of ${cells.length} cells`;
    cell(now.get("cell") || "");
  }
  top(); matrix(); filters(); trends(); show();
  window.addEventListener("hashchange", show);
  document.documentElement.dataset.ready = "yes";
})();
