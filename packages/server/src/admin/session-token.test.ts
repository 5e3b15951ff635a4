import { generatePrivateKey, signText, verifyText } from '@hanse/pki'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  readSessionToken,
  type SessionTokenClaims,
  type TextSigner,
  writeSessionToken,
} from './session-token.ts'

const signerOf = async (): Promise<TextSigner> => {
  const key = await generatePrivateKey()
  return {
    sign: (text) => signText(key, text),
    verify: (text, signature) => verifyText(key.publicKey, text, signature),
  }
}
const signer = await signerOf()
const claims: SessionTokenClaims = {
  user: 'lead@example.org',
  role: 'lead',
  organization: 'org_ä',
  sessionId: 'id',
  study: 'default',
}

it('reads what it wrote, in the form of stock', () => {
  const token = writeSessionToken(claims, signer)
  expect(readSessionToken(token, signer)).toEqual(claims)
  const [body = ''] = token.split(':')
  expect(JSON.parse(Buffer.from(body, 'base64').toString())).toEqual({
    n: 'lead@example.org',
    r: 'lead',
    o: 'org_ä',
    s: 'id',
    study: 'default',
  })
})

it('reads nothing that another server wrote', async () => {
  expect(readSessionToken(writeSessionToken(claims, await signerOf()), signer)).toBeUndefined()
})

it('reads nothing that was changed by one character', () => {
  const token = writeSessionToken(claims, signer)
  fc.assert(
    fc.property(
      fc.nat(token.length - 1),
      fc.constantFrom(...'aZ09+/=:-_ \u0000'),
      (at, character) => {
        fc.pre(token[at] !== character)
        const changed = token.slice(0, at) + character + token.slice(at + 1)
        expect(readSessionToken(changed, signer)).toBeUndefined()
      },
    ),
    { numRuns: 300 },
  )
})

it('reads nothing else, whatever comes', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(readSessionToken(text, signer)).toBeUndefined()
    }),
  )
})
