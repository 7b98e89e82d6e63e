// What unfold's pages do, for the build of Alpine that needs no eval.
//
// That build reads most of what stands in unfold's attributes, but knows no globals, no arrow
// functions and no statements. Those few are put in other words before it starts; the functions of
// unfold that attributes call are given to it by name.
"use strict";

// Its indicator's style would be one in the page; what it asks for needs no eval.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;

document.addEventListener("alpine:init", () => {
  const OPEN = "sidebarDesktopOpen";
  const body = document.body;
  const [, firstTab = ""] = /activeTab: '([^']*)'/.exec(body.getAttribute("x-data")) || [];

  Alpine.data("theme", theme);
  Alpine.data("searchForm", searchForm);
  Alpine.data("searchCommand", () => ({
    ...searchCommand(),
    enter(event) {
      if (this.currentIndex && !event.metaKey && !event.ctrlKey) this.selectItem(false, false);
    },
  }));
  Alpine.data("page", () => ({
    activeTab: firstTab && (getCurrentTab() || firstTab),
    sidebarMobileOpen: false,
    sidebarDesktopOpen: localStorage.getItem(OPEN) !== "0",
    moveRecords,
    sortRecords,
    toggleSidebar() {
      this.sidebarDesktopOpen = !this.sidebarDesktopOpen;
      localStorage.setItem(OPEN, this.sidebarDesktopOpen ? "1" : "0");
    },
    formAction() {
      const { pathname, search } = window.location;
      const tab = this.activeTab;
      return pathname + search + (tab && tab !== "general" ? `#${tab}` : "");
    },
  }));

  const reword = (selector, attribute, words) =>
    document.querySelectorAll(selector).forEach((element) => element.setAttribute(attribute, words));
  body.removeAttribute("x-init");
  body.setAttribute("x-data", "page");
  reword("[x-on\\:click*='localStorage']", "x-on:click", "toggleSidebar()");
  reword("form[x-bind\\:action]", "x-bind:action", "formAction()");
  reword("#search-input-command", "x-on:keydown.enter.prevent", "enter($event)");
  // As an object it is set property by property, which the policy allows; as a text it is not.
  reword("#changelist-actions", "x-bind:style", "{ width: changeListWidth + 'px' }");
});

// What unfold and select2 leave unsaid to whoever does not see the page.
document.addEventListener("DOMContentLoaded", () => {
  const nameSelects = () =>
    document.querySelectorAll("select + .select2").forEach((shown) => {
      const select = shown.previousElementSibling;
      const name = select.labels[0]?.textContent.trim() || select.getAttribute("aria-label") || "";
      shown
        .querySelectorAll("[role=combobox], [role=textbox]")
        .forEach((part) => part.setAttribute("aria-label", name));
    });
  document.getElementById("main")?.setAttribute("role", "main");
  new MutationObserver(nameSelects).observe(document.body, { childList: true, subtree: true });
});
