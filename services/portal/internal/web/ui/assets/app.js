// What pages do with a script, and do without where there is none: every button here is
// hidden in the HTML, and every form works by itself.
"use strict";

// Copy buttons copy the text of the element that they name.
for (const button of document.querySelectorAll("button[data-copy]")) {
	button.hidden = false;
}
document.addEventListener("click", async (event) => {
	const button = event.target.closest("button[data-copy]");
	if (!button) return;
	const said = document.getElementById("said");
	try {
		await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
		button.dataset.copied = "";
		said.textContent = "Copied.";
		setTimeout(() => delete button.dataset.copied, 2000);
	} catch {
		said.textContent = "The browser does not let this page copy. Select the text instead.";
	}
});

// A form is sent once: its buttons wait for the answer.
document.addEventListener("submit", (event) => {
	const form = event.target;
	if (form.dataset.sent !== undefined) {
		event.preventDefault();
		return;
	}
	if (form.method !== "post" || event.defaultPrevented) return;
	form.dataset.sent = "";
	form.setAttribute("aria-busy", "true");
});
// A page that comes back from the browser's memory can be sent again.
addEventListener("pageshow", () => {
	for (const form of document.querySelectorAll("form[data-sent]")) {
		delete form.dataset.sent;
		form.removeAttribute("aria-busy");
	}
});

// The first field that is wrong, or the problem above them, has the focus.
document.querySelector("[aria-invalid=true], .notice[role=alert]")?.focus();

// A menu closes when something else is clicked, and by Escape.
document.addEventListener("click", (event) => {
	for (const menu of document.querySelectorAll("details.menu[open]")) {
		if (!menu.contains(event.target)) menu.open = false;
	}
});
document.addEventListener("keydown", (event) => {
	const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
	if (!menu) return;
	menu.open = false;
	menu.querySelector("summary").focus();
});

// Buttons of what htmx brings are shown too.
document.addEventListener("htmx:after:swap", () => {
	for (const button of document.querySelectorAll("button[data-copy][hidden]")) {
		button.hidden = false;
	}
});

// A page that nobody looks at asks for nothing.
document.addEventListener("htmx:before:request", (event) => document.hidden && event.preventDefault());
