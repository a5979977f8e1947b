// The console: a socket to the portal, which has one to the gateway. Package console says
// what goes over it. At most 2000 rows are kept and shown, drawn by frame; at most 128
// messages are under way, so that a click on Disconnect does not wait behind others.
"use strict";
(() => {
	const $ = (id) => document.getElementById("c-" + id);
	const root = document.getElementById("console");
	const mostRows = 2000, rowsPerFrame = 250, underWay = 128, bytesUnderWay = 256 << 10, shown = 16 << 10;
	let socket = null, open = false, begun = 0, job = null, asked = { messages: 0, bytes: 0 }, sent = { messages: 0, bytes: 0 }, received = { messages: 0, bytes: 0 };
	let rows = [], fresh = [], drawing = false;
	const size = (n) => n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KB" : (n / 1048576).toFixed(1) + " MB";
	const bytes = (text) => new TextEncoder().encode(text).length;
	const traffic = (c) => c.messages.toLocaleString("en") + (c.messages === 1 ? " message, " : " messages, ") + size(c.bytes);

	// The log.
	const svg = (name, label) => {
		const ns = "http://www.w3.org/2000/svg", s = document.createElementNS(ns, "svg"), use = document.createElementNS(ns, "use");
		s.setAttribute("class", "i");
		s.setAttribute("role", "img");
		s.setAttribute("aria-label", label);
		use.setAttribute("href", root.dataset.icons + "#" + name);
		s.append(use);
		return s;
	};
	const kinds = { out: ["up", "Sent"], in: ["down", "Received"], note: ["check", "Event"], warn: ["warn", "Problem"] };
	// A number is shown as it was written: JSON.parse would round a long one.
	const indented = (text) => {
		if (!/^\s*[[{]/.test(text) || text.length > shown) return null;
		try { JSON.parse(text); } catch { return null; }
		const all = [...text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)].map((m) => m[0]), out = [];
		let depth = 0;
		all.forEach((t, i) => {
			const line = () => "\n" + "  ".repeat(depth);
			if (t === "{" || t === "[") {
				depth++;
				out.push(t + (/[}\]]/.test(all[i + 1]) ? "" : line()));
			} else if (t === "}" || t === "]") {
				depth--;
				out.push((/^[{[]$/.test(all[i - 1]) ? "" : line()) + t);
			} else if (t === ",") out.push("," + line());
			else if (t === ":") out.push(": ");
			else {
				const s = document.createElement("span");
				s.className = t[0] === "\"" ? all[i + 1] === ":" ? "j-k" : "j-s" : /[-\d]/.test(t[0]) ? "j-n" : "j-l";
				s.textContent = t;
				out.push(s);
			}
		});
		return out;
	};
	const matches = (row) => row.text.toLowerCase().includes($("filter").value.toLowerCase());
	const element = (row) => {
		const li = document.createElement("li"), time = document.createElement("time"), pre = document.createElement("pre"), n = document.createElement("span");
		li.className = "msg " + row.kind;
		time.textContent = row.at.toTimeString().slice(0, 8) + "." + String(row.at.getMilliseconds()).padStart(3, "0");
		const pretty = !row.binary && $("indent").checked && indented(row.text);
		if (pretty) pre.append(...pretty);
		else pre.textContent = (row.binary ? "[binary] " : "") + (row.text.length > shown ? row.text.slice(0, shown) + " …" : row.text);
		n.className = "size";
		n.textContent = row.size === undefined ? "" : size(row.size);
		li.append(svg(...kinds[row.kind]), time, pre, n);
		li.hidden = !matches(row);
		return li;
	};
	const draw = () => {
		drawing = false;
		const list = $("rows"), add = fresh.splice(0, rowsPerFrame);
		list.append(...add.map(element));
		while (list.childElementCount > mostRows) list.firstElementChild.remove();
		$("sent").textContent = traffic(sent);
		$("received").textContent = traffic(received);
		if ($("follow").checked && add.length) $("scroll").scrollTop = $("scroll").scrollHeight;
		if (fresh.length) soon();
	};
	const soon = () => {
		if (!drawing) requestAnimationFrame(draw);
		drawing = true;
	};
	const log = (kind, text, more) => {
		const row = { kind, text, at: new Date(), ...more };
		rows.push(row);
		fresh.push(row);
		if (rows.length > mostRows + 500) rows = rows.slice(-mostRows);
		if (fresh.length > mostRows + 500) fresh = fresh.slice(-mostRows);
		soon();
	};
	const again = () => {
		$("rows").replaceChildren();
		rows = fresh = rows.slice(-mostRows);
		fresh = [...rows];
		soon();
	};
	$("filter").addEventListener("input", again);
	$("indent").addEventListener("change", again);
	$("clear").addEventListener("click", () => {
		rows = [];
		again();
	});
	$("save").addEventListener("click", () => {
		const a = document.createElement("a");
		a.href = URL.createObjectURL(new Blob(rows.map((r) => JSON.stringify(r) + "\n"), { type: "application/x-ndjson" }));
		a.download = "messages.ndjson";
		a.click();
		setTimeout(() => URL.revokeObjectURL(a.href), 1000);
	});

	// The connection.
	const own = () => { if ($("key")) $("own").hidden = $("key").value !== "token"; };
	$("key")?.addEventListener("change", own);
	own();
	const say = (command) => socket && socket.readyState === 1 && socket.send(JSON.stringify(command));
	const state = (text, kind) => {
		$("state").textContent = text;
		$("state").className = "badge " + kind;
		$("open").disabled = !!socket;
		$("end").hidden = !socket;
		$("send").querySelector("button").disabled = !open;
		$("ping").disabled = !open;
		if ($("renew")) $("renew").disabled = !open;
	};
	const expires = (at) => {
		if ($("expires")) $("expires").textContent = at;
		return at;
	};
	const until = (e, none) => expires(e.expires ? "good until " + new Date(e.expires).toLocaleString("en") : none);
	const problem = (text, ref) => {
		$("said").textContent = text;
		$("record").href = root.dataset.base + "/records/" + ref;
		$("record").hidden = !ref;
		$("problem").hidden = !text;
		if (text) $("problem").focus();
	};
	const words = {
		400: "The gateway cannot read the handshake.", 401: "The gateway does not take the token: there is none, or it is not good, or no longer.",
		403: "The token is good, but does not give access to this version.", 404: "There is no published version at this address.",
		429: "A limit of the plan or of the installation is reached. Try again later.", 502: "The backend refused, or cannot be reached.",
		503: "The gateway cannot take the connection now.", 504: "The backend did not answer in time.",
	};
	const base64 = (b) => {
		let s = "";
		for (let i = 0; i < b.length; i += 8192) s += String.fromCharCode(...b.subarray(i, i + 8192));
		return btoa(s);
	};
	const hex = (data) => {
		const raw = atob(data || ""), out = [];
		for (let i = 0; i < Math.min(raw.length, shown / 3); i++) out.push(raw.charCodeAt(i).toString(16).padStart(2, "0"));
		return { text: out.join(" ") + (raw.length > shown / 3 ? " …" : ""), size: raw.length };
	};
	const count = (text, binary) => {
		const h = binary ? hex(text) : { text, size: bytes(text) };
		received.messages++;
		received.bytes += h.size;
		log("in", h.text, { size: h.size, binary });
	};
	const events = {
		opened(e) {
			open = true;
			until(e, "its end is not known");
			$("protocol").textContent = e.protocol || "none";
			state("Open", "ok");
			log("note", "Connected: 101, " + (e.protocol ? "sub-protocol " + e.protocol : "no sub-protocol") + ", " + (e.milliseconds || 0) + " ms to the answer");
		},
		refused(e) {
			const text = "Refused with " + e.status + ". " + (words[e.status] || "") + (e.ref ? " Its record has the ref " + e.ref + "." : "");
			log("warn", text + (e.body ? "\n" + e.body : ""));
			problem(text, e.ref);
		},
		failed(e) {
			log("warn", "Not connected: " + e.text);
			problem("Not connected: " + e.text);
		},
		text: (e) => count(e.text || "", false),
		binary: (e) => count(e.data || "", true),
		ping: () => log("note", "Ping from the other side, answered"),
		pong: () => log("note", "Pong after " + Math.round(performance.now() - begun) + " ms"),
		renewed(e) {
			problem("");
			log("note", "Renewed, on the same socket: the credential is " + until(e, "good for ever"));
		},
		kept(e) {
			log("warn", "Not renewed: " + e.text);
			problem("Not renewed: " + e.text);
		},
		taken(e) {
			sent = e.sent;
			pump();
			soon();
		},
		closed(e) {
			sent = e.sent;
			received = e.received;
			log(e.code === 1000 ? "note" : "warn", "Closed: " + e.code + (e.reason ? " " + e.reason : ""));
		},
		async renew() {
			try {
				const answer = await fetch(root.dataset.base + "/renewal", { method: "POST", redirect: "error" });
				if (answer.ok) say({ type: "renew", ...await answer.json() });
			} catch { /* the portal ends the socket */ }
		},
	};
	const credential = (command) => {
		const key = $("key")?.value;
		if (key === "token") command.token = $("token").value.trim();
		else if (key === "try-out") command.tryOut = true;
		else if (key) command.application = key;
		command.sandbox = !!$("sandbox")?.checked;
		return command;
	};
	$("connect").addEventListener("submit", (event) => {
		event.preventDefault();
		if (socket) return;
		problem("");
		const headers = [];
		for (const line of $("headers").value.split("\n").filter((l) => l.trim())) {
			const at = line.indexOf(":");
			if (at < 1) return problem("Headers: write each line as Name: value.");
			headers.push([line.slice(0, at).trim(), line.slice(at + 1).trim()]);
		}
		const path = $("path").value.trim();
		const command = credential({
			type: "open", headers, path: path && path[0] !== "/" ? "/" + path : path, query: $("query").value.trim().replace(/^\?/, ""),
			protocols: $("protocols").value.split(/[\s,]+/).filter(Boolean), place: $("place")?.value,
		});
		asked = { messages: 0, bytes: 0 };
		sent = { messages: 0, bytes: 0 };
		received = { messages: 0, bytes: 0 };
		let told = false;
		socket = new WebSocket("wss://" + location.host + root.dataset.base + "/socket");
		state("Connecting", "");
		socket.onopen = () => say(command);
		socket.onmessage = (m) => {
			const e = JSON.parse(m.data);
			told ||= e.type === "closed" || e.type === "refused" || e.type === "failed";
			events[e.type]?.(e);
		};
		socket.onclose = () => {
			if (!told) events.failed({ text: open ? "the portal has gone." : "the portal does not open a socket. Your sign-in may have ended, or four consoles are connected already." });
			socket = job = null;
			open = false;
			state("Not connected", "");
			expires("none");
			soon();
		};
	});
	$("end").addEventListener("submit", (event) => {
		event.preventDefault();
		job = null;
		say({ type: "close", code: Number($("code").value), reason: $("reason").value });
		if (socket && socket.readyState !== 1) socket.close();
	});
	$("ping").addEventListener("click", () => {
		begun = performance.now();
		say({ type: "ping" });
	});

	$("renew")?.addEventListener("click", () => say(credential({ type: "credential" })));

	// Sending: what is under way is bounded by what the gateway has taken.
	const pump = () => {
		while (job && open && asked.messages - sent.messages < underWay && asked.bytes - sent.bytes < bytesUnderWay) {
			asked.messages++;
			asked.bytes += job.size;
			say(job.command);
			log("out", job.text, { size: job.size, binary: job.binary });
			if (--job.left <= 0) job = null;
		}
	};
	$("send").addEventListener("submit", (event) => {
		event.preventDefault();
		const kind = $("kind").value, text = $("text").value, wrong = $("wrong");
		let command = { type: "text", text }, n = bytes(text), bad = "", line = text;
		if (kind === "json") {
			try { JSON.parse(text); } catch (e) { bad = "Not JSON: " + e.message; }
		} else if (kind === "binary") {
			const digits = text.replace(/\s/g, "");
			if (!/^([0-9a-f]{2})*$/i.test(digits)) bad = "Write bytes as pairs of hexadecimal digits, such as 08 96 01.";
			else {
				const b = Uint8Array.from(digits.match(/../g) || [], (d) => parseInt(d, 16));
				command = { type: "binary", data: base64(b) };
				n = b.length;
				line = hex(command.data).text;
			}
		}
		if (!bad && JSON.stringify(command).length > 1000000) bad = "At most 1 MB.";
		wrong.textContent = bad;
		wrong.hidden = !bad;
		$("text").setAttribute("aria-invalid", bad ? "true" : "false");
		if (bad || !open || job) return;
		job = { command, size: n, text: line, binary: kind === "binary", left: Math.max(1, Number($("times").value) || 1) };
		pump();
	});
	$("text").addEventListener("keydown", (event) => {
		if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("send").requestSubmit();
	});
	addEventListener("pagehide", () => socket && socket.close());
})();
