"use strict";

const links = [...document.querySelectorAll("nav a")];
const shown = links.find((link) => link.search === location.search) ?? links[0];
shown.setAttribute("aria-current", "page");

// Swagger UI has a dark theme, but leaves it to the page when to use it.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const ui = SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: shown.dataset.description,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // Else a badge from another server.
  validatorUrl: null,
});

/** The headers of requests that are not Swagger UI's own, with the credential entered there. */
function headers() {
  const [scheme] = Object.values(ui.authSelectors.authorized().toJS());
  const json = { "Content-Type": "application/json" };
  return scheme ? { ...json, Authorization: `Bearer ${scheme.value}` } : json;
}

async function load() {
  const requests = await (await fetch("sample.json")).json();
  for (const { path, body } of requests) {
    const sent = { method: "POST", headers: headers(), body: JSON.stringify(body) };
    const response = await fetch(`..${path}`, sent);
    // 409: it is there from an earlier time.
    if (!response.ok && response.status !== 409) {
      const { message } = await response.json();
      throw new Error(`${path}: ${response.status}, ${message}`);
    }
  }
}

const button = document.getElementById("load");
const loaded = document.getElementById("loaded");
button.addEventListener("click", async () => {
  button.disabled = true;
  loaded.textContent = "Loading …";
  try {
    await load();
    loaded.textContent = "Loaded.";
  } catch (error) {
    loaded.textContent = `Failed: ${error.message}`;
  }
  button.disabled = false;
});
