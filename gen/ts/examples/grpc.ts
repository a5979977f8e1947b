// From nothing to a message and its usage, over gRPC. With "make run" in another
// terminal, in the folder that has tidegate-data: node grpc.js
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

import { ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { changeHeader } from "@tidegate/sdk";
import { CatalogService, Stage, type Version } from "@tidegate/sdk/catalog/v1";
import { ChangeService } from "@tidegate/sdk/change/v1";
import { BadRequestSchema, ErrorInfoSchema } from "@tidegate/sdk/google/rpc";
import { SignInService } from "@tidegate/sdk/identity/v1";
import { OAuth2Service } from "@tidegate/sdk/oauth2/v1";
import { ApplicationService, SubscriptionService } from "@tidegate/sdk/subscription/v1";
import { UsageService, type Usage } from "@tidegate/sdk/usage/v1";

import { talk } from "./websocket.js";

const server = process.env.TIDEGATE_SERVER ?? "localhost:9090";
const backend = process.env.BACKEND ?? "ws://localhost:9098";
const ca = readFileSync(process.env.TIDEGATE_CA ?? "tidegate-data/ca.pem");
const password = readFileSync(process.env.PASSWORD_FILE ?? "tidegate-data/admin-password", "utf8").trim();

// Every call carries the access token, once there is one.
let accessToken = "";
const authorize: Interceptor = (next) => (request) => {
  if (accessToken) request.header.set("Authorization", `Bearer ${accessToken}`);
  return next(request);
};
const transport = createGrpcTransport({
  baseUrl: `https://${server}`,
  nodeOptions: { ca },
  interceptors: [authorize],
});

const me = await createClient(SignInService, transport).signIn({ username: "admin", password });
accessToken = me.accessToken;

const version = await publish();
const address = version.addresses[0] ?? "";
const { application, token } = await subscribe(version);
console.log(await talk(address, token, "hello", { ca }));
for (const usage of await usageOf(application)) {
  console.log(`messages to clients: ${usage.outbound?.messages}`);
}
await refused();

/** Makes an API in front of the backend and waits until gateways serve it. */
async function publish(): Promise<Version> {
  const catalog = createClient(CatalogService, transport);
  const api = await catalog.createApi({ api: { displayName: "Echo by TypeScript", context: "/typescript" } });
  const { name } = await catalog.createVersion({
    parent: api.name,
    version: {
      version: "1.0.0",
      endpoints: { production: [{ endpoint: { case: "url", value: backend } }] },
      plans: ["plans/gold"],
    },
  });
  let change = "";
  const onHeader = (headers: Headers) => { change = headers.get(changeHeader) ?? ""; };
  const version = await catalog.publishVersion({ name }, { onHeader });
  await createClient(ChangeService, transport).waitChange({ name: change });
  return version;
}

/** Makes an application that may use the version, and gets it a token. */
async function subscribe(version: Version): Promise<{ application: string; token: string }> {
  const applications = createClient(ApplicationService, transport);
  const { name: application } = await applications.createApplication({ application: { displayName: "TypeScript app" } });
  await createClient(SubscriptionService, transport).createSubscription({
    subscription: { application, version: version.name, plan: "plans/gold" },
  });
  const client = await applications.createOAuthClient({ parent: application, oauthClient: { stage: Stage.PRODUCTION } });
  const { secret } = await applications.createOAuthClientSecret({ parent: client.name, oauthClientSecret: {} });
  const { accessToken: token } = await createClient(OAuth2Service, transport).issueToken({
    grantType: "client_credentials",
    clientCredentials: { clientId: client.clientId, clientSecret: secret },
  });
  return { application, token };
}

/** Waits until gateways have reported the usage of an application, which takes seconds. */
async function usageOf(application: string): Promise<Usage[]> {
  const usages = createClient(UsageService, transport);
  for (let tries = 0; tries < 150; tries++) {
    const { usage } = await usages.listUsage({ filter: `application = "${application}"` });
    if (usage.some((hour) => hour.outbound?.messages)) return usage;
    await setTimeout(200);
  }
  throw new Error("there is no usage after 30 seconds");
}

/** Shows what programs can read in an error: its reason, and which field is wrong. */
async function refused(): Promise<void> {
  try {
    await createClient(CatalogService, transport).createApi({ api: { displayName: "Harbour", context: "no slash" } });
  } catch (error) {
    const problem = ConnectError.from(error);
    const [info] = problem.findDetails(ErrorInfoSchema);
    const violations = problem.findDetails(BadRequestSchema).flatMap((request) => request.fieldViolations);
    console.log(info?.reason, violations.map((violation) => violation.field).join(", "));
  }
}
