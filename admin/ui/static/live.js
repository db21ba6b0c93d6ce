// The page as it is was made by serai. This script keeps it up to date: serai sends the part
// that has changed, made by the same template, so it is escaped. Nothing else is fetched.
"use strict";
(() => {
	const content = document.getElementById("content"), live = document.getElementById("live");
	let source, timer, heard;
	// serai says something every 15 seconds. A connection that a network or a sleeping machine has lost stays open
	// without it, and nothing tells a browser.
	const silence = 45000;

	function tell(kind, text) {
		live.className = "live " + kind;
		if (live.textContent !== text) live.textContent = text;
	}

	// Makes a node like another one, and keeps what is the same, so that focus, selection and
	// the position of a scrolled table stay.
	function match(to, from) {
		if (to.isEqualNode(from)) return;
		if (to.nodeType !== from.nodeType || to.nodeName !== from.nodeName) return to.replaceWith(from);
		if (to.nodeType === Node.TEXT_NODE) { to.data = from.data; return; }
		for (const a of [...to.attributes]) if (!from.hasAttribute(a.name)) to.removeAttribute(a.name);
		for (const a of from.attributes) if (to.getAttribute(a.name) !== a.value) to.setAttribute(a.name, a.value);
		children(to, from);
	}

	function children(to, from) {
		const next = [...from.childNodes];
		while (to.childNodes.length > next.length) to.lastChild.remove();
		next.forEach((n, i) => i < to.childNodes.length ? match(to.childNodes[i], n) : to.append(n));
	}

	function follow() {
		clearTimeout(timer);
		if (source) source.close();
		const q = new URLSearchParams(location.search);
		q.set("follow", "1");
		source = new EventSource(location.pathname + "?" + q);
		heard = Date.now();
		source.addEventListener("beat", () => { heard = Date.now(); });
		source.onmessage = m => {
			heard = Date.now();
			const t = document.createElement("template");
			t.innerHTML = JSON.parse(m.data);
			children(content, t.content);
			tell("on", "live");
		};
		source.onerror = () => {
			tell("off", "connection lost: retrying");
			if (source.readyState === EventSource.CLOSED) timer = setTimeout(follow, 5000);
		};
	}

	setInterval(() => {
		if (!source || source.readyState === EventSource.CLOSED || Date.now() - heard < silence) return;
		tell("off", "connection lost: retrying");
		follow();
	}, 5000);

	// A search is applied while it is typed; without this script the button does it.
	for (const form of document.querySelectorAll("form[role=search]")) {
		let typed;
		form.addEventListener("input", () => {
			clearTimeout(typed);
			typed = setTimeout(() => {
				const q = new URLSearchParams(location.search);
				q.delete("offset");
				for (const [name, value] of new FormData(form)) value ? q.set(name, value) : q.delete(name);
				history.replaceState(null, "", "?" + q);
				follow();
			}, 200);
		});
		form.addEventListener("submit", e => e.preventDefault());
	}

	async function copy(text) {
		if (navigator.clipboard) return navigator.clipboard.writeText(text);
		const area = document.createElement("textarea"); // where the page is not secure
		area.value = text;
		document.body.append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		if (!done) throw new Error("not copied");
	}

	document.addEventListener("click", async e => {
		const button = e.target.closest("[data-copy]");
		if (!button) return;
		try {
			await copy(button.dataset.copy);
			tell("on", "copied: " + button.dataset.copy);
		} catch {
			tell("off", "the browser does not let this page copy: select the text");
		}
	});

	addEventListener("pagehide", () => source && source.close());
	addEventListener("pageshow", e => e.persisted && follow());
	// A browser opens six connections to a server: pages that nobody sees must not hold them.
	document.addEventListener("visibilitychange", () => {
		if (!document.hidden) return follow();
		clearTimeout(timer);
		if (source) source.close();
		tell("off", "paused while hidden");
	});
	if (!document.hidden) follow();
})();
