"use strict";
(() => {
  const $ = (s, in_) => [...(in_ || document).querySelectorAll(s)];
  const list = $(".hosts")[0], hosts = $(".h"), tools = $("#tools")[0], q = $("#q")[0];
  tools.hidden = false;
  $(".show").forEach(a => a.hidden = false);
  for (const h of hosts) {
    h.text = h.textContent.toLowerCase();
    h.refs = new Set($("a", h).map(a => a.hash.slice(1).toLowerCase()));
    // What hosts share is in the page once; show it where it is looked for.
    const fill = () => {
      if (!h.open || h.filled) return;
      h.filled = true;
      for (const a of $(".ev>li>a:first-child", h)) {
        const li = a.parentElement, [fact, source] = $("span", document.querySelector(a.hash)), small = document.createElement("small");
        small.textContent = [source ? source.textContent : "", li.lastChild === a ? "" : li.lastChild.textContent.trim()].filter(s => s).join(", ");
        li.replaceChildren(...fact.cloneNode(true).childNodes, " ", small);
      }
      for (const li of $("ol>li:not(.again)", h)) {
        const b = document.querySelector(li.firstElementChild.hash + " .b");
        if (b) li.append(b.cloneNode(true));
      }
    };
    h.addEventListener("toggle", fill);
    fill(); // some browsers open again what was open before
  }
  const filter = () => {
    const want = q.value.trim().toLowerCase(), ref = /^[efp]\d+$/.test(want);
    const verdicts = new Set($("input:checked", tools).map(i => i.value));
    let n = 0;
    for (const h of hosts) {
      h.hidden = !verdicts.has(h.dataset.v) || !(ref ? h.refs.has(want) : h.text.includes(want));
      if (!h.hidden) n++;
    }
    $("#shown")[0].textContent = n + " of " + hosts.length;
  };
  tools.addEventListener("input", filter);
  tools.addEventListener("submit", e => e.preventDefault());
  $("#all")[0].addEventListener("click", e => {
    const open = e.target.textContent === "Open all";
    hosts.forEach(h => { if (!h.hidden) h.open = open; });
    e.target.textContent = open ? "Close all" : "Open all";
  });
  $(".show").forEach(a => a.addEventListener("click", () => { q.value = a.dataset.q; filter(); }));
  const compare = (a, b) => a.localeCompare(b, "en", {numeric: true});
  const sorter = (head, rows, cell, put) => {
    let up = false;
    head.addEventListener("click", () => {
      up = !up;
      rows().sort((a, b) => (up ? 1 : -1) * compare(cell(a), cell(b))).forEach(put);
    });
  };
  $(".head span").forEach((s, n) => {
    const b = document.createElement("button");
    b.type = "button";
    b.className = "s";
    b.textContent = s.textContent;
    s.replaceWith(b);
    sorter(b, () => hosts, h => h.firstElementChild.children[n].textContent, h => list.append(h));
  });
  $("table").forEach(t => $("thead th", t).forEach((th, n) => {
    th.classList.add("s");
    sorter(th, () => [...t.tBodies[0].rows], r => r.cells[n].textContent, r => t.tBodies[0].append(r));
  }));
  filter();
})();
