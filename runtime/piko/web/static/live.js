// Renews the part of a page that shows what changes, when the server says that something has.
//
// One stream of events for a page that is in sight, none for one that is not: a browser has few connections
// for a server. Where there is no stream, the page renews itself from time to time instead.
"use strict";
(() => {
  const AT_ONCE_MS = 300, SELDOM_MS = 3000, WITHOUT_STREAM_MS = 15000, AGES_MS = 60000;
  const address = new URL("../api/v1/events", document.currentScript.src);
  let stream = null, timer = null, renewedAt = Date.now(), fallback = null;

  function renew() {
    timer = null;
    renewedAt = Date.now();
    document.querySelectorAll("[data-live]").forEach((part) => htmx.trigger(part, "renew"));
  }

  function soon() {
    if (timer === null) {
      timer = setTimeout(renew, Math.max(AT_ONCE_MS, renewedAt + SELDOM_MS - Date.now()));
    }
  }

  function concerns(event) {
    const said = JSON.parse(event.data);
    return [...document.querySelectorAll("[data-live]")].some((part) => {
      const job = part.dataset.live;
      return !job || said.more || (said.jobs || []).includes(job)
        || (said.runs || []).some((run) => run.job_id === job);
    });
  }

  function open() {
    if (stream !== null || !document.querySelector("[data-live]")) return;
    stream = new EventSource(address);
    // What happened between the page and its stream is in neither.
    stream.addEventListener("open", soon);
    for (const kind of ["runs_ended", "jobs_changed"]) {
      stream.addEventListener(kind, (event) => { if (concerns(event)) soon(); });
    }
    for (const kind of ["leader_changed", "reset"]) stream.addEventListener(kind, soon);
    stream.addEventListener("error", () => {
      if (stream !== null && stream.readyState === EventSource.CLOSED) {
        close();
        if (fallback === null) fallback = setInterval(soon, WITHOUT_STREAM_MS);
      }
    });
  }

  function close() {
    if (stream !== null) stream.close();
    stream = null;
  }

  // Who goes by keys stays where they are: what had the focus in a part has it again in the renewed one. It is
  // sought in there alone, by its place among its like: the navigation may lead to where it leads, too.
  const focusable = "a[href], button, summary, input, select, textarea, [tabindex]";
  const sameness = (each) => [each.tagName, each.getAttribute("href"), each.getAttribute("aria-label"),
    each.hasAttribute("href") ? "" : each.textContent].join("\n");
  const alike = (part, said) =>
    [...part.querySelectorAll(focusable)].filter((each) => sameness(each) === said);
  let focused = null;

  document.addEventListener("htmx:beforeSwap", (event) => {
    const part = event.detail.target, held = document.activeElement, said = sameness(held);
    focused = part.contains(held) ? {said, place: alike(part, said).indexOf(held)} : null;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (focused === null || document.activeElement !== document.body) return;
    const found = alike(event.target, focused.said);
    if (found.length > 0) (found[focused.place] || found[0]).focus({preventScroll: true});
  });

  // The log of a run that goes on: each new line at the end of the others, in sight if the end was.
  const shown = document.querySelector("[data-follow]");
  const source = shown && new URL(shown.dataset.follow, location.href);
  let log = null;

  function follow() {
    if (log !== null || source === null) return;
    log = new EventSource(source);
    log.addEventListener("lines", (event) => {
      const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 20;
      document.querySelectorAll("[data-silence]").forEach((part) => part.remove());
      shown.append(JSON.parse(event.data).map((line) => line + "\n").join(""));
      source.searchParams.set("after", event.lastEventId);
      if (atEnd) shown.scrollTop = shown.scrollHeight;
    });
    log.addEventListener("progress", (event) => {
      document.querySelector("[data-progress]").textContent = JSON.parse(event.data);
    });
    log.addEventListener("ended", () => { unfollow(); soon(); });
  }

  function unfollow() {
    if (log !== null) log.close();
    log = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      unfollow();
      clearInterval(fallback);
      fallback = null;
    } else {
      open();
      follow();
      soon();
    }
  });
  window.addEventListener("pagehide", () => { close(); unfollow(); });
  setInterval(() => { if (!document.hidden && Date.now() - renewedAt >= AGES_MS) soon(); }, AGES_MS);
  if (!document.hidden) { open(); follow(); }
})();
