// A client made of ts-mls: one request in JSON per line of stdin, one answer per line of stdout.
// Bytes are in hex. It holds one key package and one group.

import { createInterface } from "node:readline"
import * as mls from "ts-mls"

const hex = (bytes) => Buffer.from(bytes).toString("hex")
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"))
const encode = (wireformat, key, value) =>
  hex(mls.encodeMlsMessage({ version: "mls10", wireformat, [key]: value }))
const decode = (text) => mls.decodeMlsMessage(bytes(text), 0)[0]

const [suiteName, name] = process.argv.slice(2)
const suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(suiteName))
const credential = { credentialType: "basic", identity: new TextEncoder().encode(name) }
const own = await mls.generateKeyPackage(
  credential, mls.defaultCapabilities(), mls.defaultLifetime, [], suite,
)
let state

async function commit(publicly, ...extraProposals) {
  const made = await mls.createCommit(
    { state, cipherSuite: suite },
    { extraProposals, wireAsPublicMessage: publicly, ratchetTreeExtension: true },
  )
  state = made.newState
  return {
    message: hex(mls.encodeMlsMessage(made.commit)),
    welcome: made.welcome && encode("mls_welcome", "welcome", made.welcome),
  }
}

async function propose(publicly, proposal) {
  const made = await mls.createProposal(state, publicly, proposal, suite)
  state = made.newState
  return { message: hex(mls.encodeMlsMessage(made.message)) }
}

const add = (keyPackage) => ({ proposalType: "add", add: { keyPackage: decode(keyPackage).keyPackage } })
const remove = (removed) => ({ proposalType: "remove", remove: { removed } })

const verbs = {
  key_package: () => ({ message: encode("mls_key_package", "keyPackage", own.publicPackage) }),
  create: async ({ group_id }) => {
    state = await mls.createGroup(bytes(group_id), own.publicPackage, own.privatePackage, [], suite)
  },
  join: async ({ welcome }) => {
    state = await mls.joinGroup(
      decode(welcome).welcome, own.publicPackage, own.privatePackage, mls.emptyPskIndex, suite,
    )
  },
  join_external: async ({ group_info, resync }) => {
    const made = await mls.joinGroupExternal(
      decode(group_info).groupInfo, own.publicPackage, own.privatePackage, resync, suite,
    )
    state = made.newState
    return { message: encode("mls_public_message", "publicMessage", made.publicMessage) }
  },
  group_info: async () => {
    const info = await mls.createGroupInfoWithExternalPubAndRatchetTree(state, [], suite)
    return { message: encode("mls_group_info", "groupInfo", info) }
  },
  commit: ({ publicly }) => commit(publicly),
  add: ({ publicly, key_package }) => commit(publicly, add(key_package)),
  remove: ({ publicly, index }) => commit(publicly, remove(index)),
  propose_add: ({ publicly, key_package }) => propose(publicly, add(key_package)),
  propose_remove: ({ publicly, index }) => propose(publicly, remove(index)),
  encrypt: async ({ data }) => {
    const made = await mls.createApplicationMessage(state, bytes(data), suite)
    state = made.newState
    return { message: encode("mls_private_message", "privateMessage", made.privateMessage) }
  },
  receive: async ({ message }) => {
    const done = await mls.processMessage(
      decode(message), state, mls.emptyPskIndex, mls.acceptAll, suite,
    )
    state = done.newState
    return done.kind === "applicationMessage" ? { data: hex(done.message) } : {}
  },
  export: async ({ label, context, length }) => ({
    data: hex(
      await mls.mlsExporter(
        state.keySchedule.exporterSecret, label, bytes(context), length, suite,
      ),
    ),
  }),
  signature_key: () => ({ data: hex(state.signaturePrivateKey) }),
  active: () => ({ active: state.groupActiveState.kind === "active" }),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, ...given } = JSON.parse(line)
  let answer
  try {
    answer = (await verbs[verb](given)) ?? {}
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
