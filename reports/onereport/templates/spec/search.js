"use strict";
// Search over the names and sentences of these pages, and the filter of the discrepancies. Without it every page works the same.
(function () {
  const normal = (text) => text.toLowerCase();
  const score = (entry, words) => {
    const title = normal(entry[0]);
    const text = normal(entry[3]);
    let sum = 0;
    for (const word of words) {
      if (title === word) sum += 100;
      else if (title.startsWith(word) || title.split(/[/._ -]/).some((part) => part === word)) sum += 40;
      else if (title.includes(word)) sum += 20;
      else if (text.includes(word)) sum += 4;
      else return 0;
    }
    return sum + (entry[1] === "action" ? 3 : 0);
  };

  const find = (text) => {
    const words = normal(text).split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    return window.ONETCK_INDEX.map((entry) => [score(entry, words), entry])
      .filter((one) => one[0] > 0)
      .sort((a, b) => b[0] - a[0])
      .map((one) => one[1]);
  };

  const form = document.querySelector("form.search");
  if (form && window.ONETCK_INDEX) {
    const input = form.querySelector("input");
    const list = form.querySelector("ul");
    const count = form.querySelector(".count");
    let chosen = -1;
    form.hidden = false;

    const choose = (n) => {
      const items = [...list.children];
      chosen = items.length ? (n + items.length) % items.length : -1;
      items.forEach((item, i) => item.setAttribute("aria-selected", String(i === chosen)));
      if (chosen >= 0) {
        input.setAttribute("aria-activedescendant", items[chosen].id);
        items[chosen].scrollIntoView({ block: "nearest" });
      } else input.removeAttribute("aria-activedescendant");
    };

    const show = () => {
      const found = find(input.value);
      list.replaceChildren(
        ...found.slice(0, 20).map((entry, i) => {
          const item = document.createElement("li");
          item.id = "found-" + i;
          item.setAttribute("role", "option");
          const link = document.createElement("a");
          link.href = entry[2];
          link.tabIndex = -1;
          const title = document.createElement("b");
          title.textContent = entry[0];
          const kind = document.createElement("i");
          kind.textContent = entry[1];
          const text = document.createElement("span");
          text.textContent = entry[3].length > 140 ? entry[3].slice(0, 140) + "…" : entry[3];
          link.append(title, " ", kind, " ", text);
          item.append(link);
          return item;
        })
      );
      const open = input.value.trim() !== "";
      list.hidden = !found.length;
      input.setAttribute("aria-expanded", String(found.length > 0));
      count.textContent = open ? found.length + (found.length === 1 ? " place" : " places") : "";
      choose(found.length ? 0 : -1);
    };

    const close = () => {
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
    };

    const go = () => {
      const link = chosen >= 0 && list.children[chosen] && list.children[chosen].querySelector("a");
      if (link) {
        close();
        window.location.href = link.href;
      }
    };

    input.addEventListener("input", show);
    input.addEventListener("focus", () => input.value && show());
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") choose(chosen + 1);
      else if (event.key === "ArrowUp") choose(chosen - 1);
      else if (event.key === "Escape") close();
      else return;
      event.preventDefault();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      go();
    });
    list.addEventListener("click", close);
    form.addEventListener("focusout", (event) => form.contains(event.relatedTarget) || window.setTimeout(close, 150));
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        input.focus();
      }
    });
  }

  const filter = document.querySelector("form.filter");
  if (filter) {
    filter.hidden = false;
    filter.addEventListener("submit", (event) => event.preventDefault());
    filter.querySelector("select").addEventListener("change", (event) => {
      for (const one of document.querySelectorAll("[data-actions]"))
        one.hidden = event.target.value !== "" && !one.dataset.actions.split(" ").includes(event.target.value);
    });
  }
})();
