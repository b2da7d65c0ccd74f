"use strict";
// Asks for the live part of the page again and again, and shouts when there is no answer.

const EVERY = 5000, AWAY = 15000;
const here = location.origin + location.pathname; // a name and password in the address would be refused
const live = document.getElementById("live");
const away = document.getElementById("away");
const beat = document.getElementById("beat");
const button = document.getElementById("names");
const icon = document.querySelector("link[rel=icon]");
let names = button !== null && button.getAttribute("aria-pressed") === "true";
let answered = Date.now();
let timer = 0;

function selecting() {
  const chosen = window.getSelection();
  return chosen !== null && !chosen.isCollapsed && live.contains(chosen.anchorNode);
}

function told() {
  const state = document.getElementById("state").dataset;
  document.title = `${state.state} - dicomsync`;
  icon.href = `icon/${state.level}.svg`;
}

function shout(why) {
  const since = new Date(answered).toLocaleTimeString();
  away.textContent = `This page has not been up to date since ${since}: ${why}`;
  away.hidden = false;
  live.classList.add("old");
  document.title = "NOT UP TO DATE - dicomsync";
  icon.href = "icon/wrong.svg";
}

async function refresh() {
  window.clearTimeout(timer);
  try {
    const answer = await fetch(here + (names ? "live?names=1" : "live"), {
      cache: "no-store",
      signal: AbortSignal.timeout(AWAY),
    });
    if (!answer.ok) throw new Error(await answer.text());
    const text = await answer.text();
    if (!selecting()) live.innerHTML = text;
    answered = Date.now();
    away.hidden = true;
    live.classList.remove("old");
    told();
  } catch (error) {
    if (Date.now() - answered >= EVERY) {
      shout(error.name === "Error" ? error.message : "`dicomsync web` does not answer.");
    }
  }
  timer = window.setTimeout(refresh, EVERY);
}

if (button !== null) {
  button.addEventListener("click", () => {
    names = !names;
    button.setAttribute("aria-pressed", String(names));
    button.textContent = names ? "Hide names" : "Show names";
    refresh();
  });
}
document.addEventListener("visibilitychange", () => document.hidden || refresh());
timer = window.setTimeout(refresh, EVERY);
beat.textContent = "live";
