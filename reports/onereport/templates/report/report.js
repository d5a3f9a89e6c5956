"use strict";
// What the page can do where scripts run: filter, copy, unpack the details of calls. Without scripts it reads the same, but for those.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.querySelector("form.filter");
  all(".scripted[hidden]").forEach((one) => { one.hidden = false; });

  // filter: its state stands in the address, as #?verdict=fail&q=words
  const rows = all("#requirements tbody tr, .finding").map((element) => ({
    element,
    verdict: [...element.classList].find((name) => name !== "finding") || "",
    action: element.dataset.action || "",
    profiles: (element.dataset.profiles || "").split(" "),
    text: element.textContent.toLowerCase(),
    counted: element.localName === "tr",
  }));
  const cases = all(".case").map((element) => ({
    element,
    actions: element.dataset.actions.split(" "),
    text: (element.querySelector("h3").textContent + " " + element.dataset.actions).toLowerCase(),
    wrong: "wrong" in element.dataset,
  }));
  const outside = document.querySelector("#requirements > details");

  function asked() {
    const given = new FormData(form);
    return { verdicts: given.getAll("verdict"), action: given.get("action"), profile: given.get("profile"), words: given.get("q").toLowerCase().split(/\s+/).filter(Boolean) };
  }

  function apply() {
    const { verdicts, action, profile, words } = asked();
    const active = verdicts.length + words.length > 0 || action !== "" || profile !== "";
    let shown = 0;
    let total = 0;
    for (const row of rows) {
      const fits = (!verdicts.length || verdicts.includes(row.verdict)) && (!action || row.action === action)
        && (!profile || row.profiles.includes(profile)) && words.every((word) => row.text.includes(word));
      row.element.hidden = !fits;
      shown += row.counted && fits ? 1 : 0;
      total += row.counted ? 1 : 0;
    }
    const wrongOnly = verdicts.length > 0 && !verdicts.includes("pass");
    for (const one of cases) {
      const fits = (!wrongOnly || one.wrong) && (!action || one.actions.includes(action)) && words.every((word) => one.text.includes(word));
      one.element.hidden = !fits && active;
    }
    if (outside && active) outside.open = true;
    form.querySelector("output").textContent = active ? `${shown} of ${total} requirements` : "";
    form.querySelector("button[type=reset]").hidden = !active;
  }

  function remember() {
    const { verdicts, action, profile } = asked();
    const words = form.elements.q.value;
    const state = new URLSearchParams();
    if (verdicts.length) state.set("verdict", verdicts.join(","));
    for (const [name, value] of [["action", action], ["profile", profile], ["q", words]]) if (value) state.set(name, value);
    history.replaceState(null, "", String(state) ? `#?${state}` : "#requirements");
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(2));
    const verdicts = (state.get("verdict") || "").split(",");
    for (const box of all("input[name=verdict]", form)) box.checked = verdicts.includes(box.value);
    for (const name of ["action", "profile", "q"]) form.elements[name].value = state.get(name) || "";
    apply();
  }

  form.addEventListener("input", () => { apply(); remember(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { apply(); remember(); }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      form.elements.q.focus();
    }
  });

  // copy
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function addCopyButtons(root) {
    for (const code of all(".repeat > code, pre.copied", root)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await copy(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      code.after(button);
    }
  }

  // the details of calls: packed once for each case
  const unpacked = new Map();
  function unpack(article) {
    const packed = article.querySelector(".packed");
    if (!packed) return null;
    if (!unpacked.has(article)) unpacked.set(article, reveal(article, packed));
    return unpacked.get(article);
  }

  async function reveal(article, packed) {
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const page = document.createElement("template");
    page.innerHTML = await new Response(stream).text();
    const details = new Map(all(".detail", page.content).map((one) => [one.dataset.call, one]));
    details.forEach((one) => one.remove());
    const later = article.querySelector(".later");
    if (later) {
      later.replaceWith(page.content);
      addButtons(article);
    }
    return details;
  }

  // shows or hides the details of a call; shows them with `open`
  async function toggle(row, open = false) {
    const article = row.closest(".case");
    const details = await unpack(article);
    const found = details && details.get(row.id.slice(row.id.lastIndexOf("-") + 1));
    for (let outer = row.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    if (found) {
      const fresh = !found.isConnected;
      if (fresh) {
        const below = document.createElement("tr");
        below.className = "below";
        below.append(document.createElement("td"));
        below.firstChild.colSpan = row.cells.length;
        below.firstChild.append(found);
        row.after(below);
        reach(below);
      }
      const below = found.closest("tr.below");
      below.hidden = !open && !fresh && !below.hidden;
      row.querySelector("button.more").setAttribute("aria-expanded", String(!below.hidden));
    }
    return row;
  }

  function addButtons(root) {
    for (const head of all(".calls tbody tr > th", root)) {
      if (head.nextElementSibling.textContent.startsWith("vmm/")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "more";
      button.textContent = head.textContent;
      button.title = "Arguments, documents, output and changes of this call";
      button.setAttribute("aria-expanded", "false");
      head.replaceChildren(button);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.more");
    if (button) toggle(button.closest("tr"));
    const show = event.target.closest("button.show");
    if (show) unpack(show.closest(".case"));
  });

  // what scrolls can be scrolled by the keyboard
  function reach(root) {
    for (const one of all(".scroll, pre", root)) {
      if (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight) one.tabIndex = 0;
    }
  }
  document.addEventListener("toggle", (event) => reach(event.target), true);

  async function follow() {
    if (location.hash.startsWith("#?")) {
      recall();
      return;
    }
    const name = decodeURIComponent(location.hash.slice(1));
    if (!name) return;
    let target = document.getElementById(name);
    if (!target && name.startsWith("call-")) {
      const article = document.getElementById("case-" + name.slice(5, name.lastIndexOf("-")));
      if (article) await unpack(article);
      target = document.getElementById(name);
    }
    if (!target) return;
    const hidden = target.closest("[hidden]");
    if (hidden) form.reset();
    for (let outer = target.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    if (target.matches("tr[id^=call-]")) await toggle(target, true);
    target.scrollIntoView();
  }

  addCopyButtons(document);
  reach(document.getElementById("findings"));
  for (const article of all(".case")) {
    if (!article.querySelector(".packed")) continue;
    const later = article.querySelector(".later");
    if (later) later.append(Object.assign(document.createElement("button"), { type: "button", className: "show", textContent: "Show them" }));
    else addButtons(article);
  }
  window.addEventListener("hashchange", follow);
  apply();
  follow();
})();
