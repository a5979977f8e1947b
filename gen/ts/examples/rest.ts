// From nothing to a message and its usage, over REST. With "make run" in another
// terminal, in the folder that has tidegate-data:
//   NODE_EXTRA_CA_CERTS=tidegate-data/ca.pem node rest.js
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

import { changeHeader } from "@tidegate/sdk";
import type { ApiJson, VersionJson } from "@tidegate/sdk/catalog/v1";
import type { WaitChangeResponseJson } from "@tidegate/sdk/change/v1";
import type { StatusJson } from "@tidegate/sdk/google/rpc";
import type { SignInRequestJson, SignInResponseJson } from "@tidegate/sdk/identity/v1";
import type { ApplicationJson, OAuthClientJson, OAuthClientSecretJson, SubscriptionJson } from "@tidegate/sdk/subscription/v1";
import type { ListUsageResponseJson, UsageJson } from "@tidegate/sdk/usage/v1";

import { talk } from "./websocket.js";

const portal = process.env.TIDEGATE_PORTAL ?? "https://localhost:9443";
const backend = process.env.BACKEND ?? "ws://localhost:9098";
const password = readFileSync(process.env.PASSWORD_FILE ?? "tidegate-data/admin-password", "utf8").trim();

let accessToken = "";

/** What REST answers where it refuses. Programs read the reason, people the message. */
class Refusal extends Error {
  readonly reason: unknown;

  constructor(status: StatusJson) {
    super(status.message);
    this.reason = status.details?.find((detail) => "reason" in detail)?.reason;
  }
}

/** Calls a method of REST. */
async function call<Answer>(method: "GET" | "POST", path: string, body?: object): Promise<{ answer: Answer; headers: Headers }> {
  const response = await fetch(`${portal}/v1/${path}`, {
    method,
    headers: {
      "Content-Type": "application/json",
      ...(accessToken && { Authorization: `Bearer ${accessToken}` }),
    },
    body: body ? JSON.stringify(body) : null,
  });
  if (!response.ok) throw new Refusal((await response.json()) as StatusJson);
  return { answer: (await response.json()) as Answer, headers: response.headers };
}

const credentials: SignInRequestJson = { username: "admin", password };
const me = await call<SignInResponseJson>("POST", "users:signIn", credentials);
accessToken = me.answer.accessToken ?? "";

const version = await publish();
const { application, token } = await subscribe(version);
console.log(await talk(version.addresses?.[0] ?? "", token, "hello"));
for (const usage of await usageOf(application)) {
  console.log(`messages to clients: ${usage.outbound?.messages}`);
}
await call("POST", "apis", { displayName: "Harbour", context: "no slash" }).catch((error: Refusal) => console.log(error.reason));

/** Makes an API in front of the backend and waits until gateways serve it. */
async function publish(): Promise<VersionJson> {
  const api: ApiJson = { displayName: "Echo by fetch", context: "/fetch" };
  const { name: parent } = (await call<ApiJson>("POST", "apis", api)).answer;
  const version: VersionJson = { version: "1.0.0", endpoints: { production: [{ url: backend }] }, plans: ["plans/gold"] };
  const { name } = (await call<VersionJson>("POST", `${parent}/versions`, version)).answer;
  const published = await call<VersionJson>("POST", `${name}:publish`, {});
  await call<WaitChangeResponseJson>("GET", `${published.headers.get(changeHeader)}:wait`);
  return published.answer;
}

/** Makes an application that may use the version, and gets it a token. */
async function subscribe(version: VersionJson): Promise<{ application: string; token: string }> {
  const { name: application = "" } = (await call<ApplicationJson>("POST", "applications", { displayName: "Fetch app" })).answer;
  const subscription: SubscriptionJson = { application, version: version.name ?? "", plan: "plans/gold" };
  await call<SubscriptionJson>("POST", "subscriptions", subscription);
  const client = (await call<OAuthClientJson>("POST", `${application}/oauthClients`, { stage: "STAGE_PRODUCTION" })).answer;
  const { secret } = (await call<OAuthClientSecretJson>("POST", `${client.name}/secrets`, {})).answer;
  const response = await fetch(`${portal}/oauth2/token`, {
    method: "POST",
    headers: { Authorization: `Basic ${btoa(`${client.clientId}:${secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  const { access_token: token } = (await response.json()) as { access_token: string };
  return { application, token };
}

/** Waits until gateways have reported the usage of an application, which takes seconds. */
async function usageOf(application: string): Promise<UsageJson[]> {
  const filter = new URLSearchParams({ filter: `application = "${application}"` });
  for (let tries = 0; tries < 150; tries++) {
    const { usage = [] } = (await call<ListUsageResponseJson>("GET", `usage?${filter}`)).answer;
    // JSON has the 64 bits of a counter as text.
    if (usage.some((hour) => Number(hour.outbound?.messages))) return usage;
    await setTimeout(200);
  }
  throw new Error("there is no usage after 30 seconds");
}
