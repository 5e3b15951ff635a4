import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCertificate, parseCertificates } from './certificate.ts'
import { DerReader, der, derObjectIdentifier, derTime, readObjectIdentifier } from './der.ts'
import { formatFingerprint } from './fingerprint.ts'
import { parsePem } from './pem.ts'
import { PkiError } from './pki-error.ts'

const pem = readFileSync(
  new URL(
    '../../../vectors/kits/central/kits/lead@example.org/startup/client.crt',
    import.meta.url,
  ),
  'utf8',
)

describe('parseCertificates', () => {
  it('reads names, role, times and identifiers of a stock certificate', () => {
    const [certificate] = parseCertificates(pem, 'client.crt')
    expect(certificate).toMatchObject({
      commonName: 'lead@example.org',
      organization: 'org_b',
      role: 'lead',
      notBefore: Date.parse('2026-11-22T20:25:46Z'),
      notAfter: Date.parse('2027-11-17T20:25:46Z'),
      serialNumber: '5f274e039b87f2e612735a69fd9a56e2a3cd9857',
      isCa: false,
      keyUsage: undefined,
      extendedKeyUsage: undefined,
      subjectAltNames: ['DNS:lead@example.org'],
    })
    expect(formatFingerprint(certificate!.fingerprint)).toMatch(
      /^SHA256:([0-9A-F]{2}:){31}[0-9A-F]{2}$/,
    )
  })

  it.each([
    ['nothing', ''],
    ['another kind of block', pem.replaceAll('CERTIFICATE', 'PUBLIC KEY')],
    ['a block cut short', `${pem}-----BEGIN CERTIFICATE-----\nAAAA\n`],
    ['too many', pem.repeat(9)],
    ['too much text', pem + ' '.repeat(70_000)],
  ])('refuses %s', (_what, text) => {
    expect(() => parseCertificates(text, 'x')).toThrow(
      expect.objectContaining({ code: 'ERR_PEM_FORMAT' }),
    )
  })

  it('throws only PkiError whatever octets change, are cut or added', () => {
    const { bytes } = parsePem(pem, 'x')[0]!
    fc.assert(
      fc.property(
        fc.nat(bytes.length - 1),
        fc.nat(255),
        fc.nat(bytes.length),
        fc.uint8Array({ maxLength: 3 }),
        (at, octet, cut, more) => {
          const changed = Uint8Array.from([...bytes.subarray(0, cut), ...more])
          if (at < changed.length) changed[at] = octet
          for (const candidate of [
            changed,
            Uint8Array.from(bytes, (b, i) => (i === at ? octet : b)),
          ])
            try {
              parseCertificate(candidate)
            } catch (error) {
              expect(error).toBeInstanceOf(PkiError)
            }
        },
      ),
    )
  })

  it('refuses octets after the certificate', () => {
    const { bytes } = parsePem(pem, 'x')[0]!
    expect(() => parseCertificate(Uint8Array.from([...bytes, 0]))).toThrow(PkiError)
  })

  it('refuses a common name with a NUL and a second common name', () => {
    const { bytes } = parsePem(pem, 'x')[0]!
    const text = Buffer.from(bytes).toString('latin1')
    const change = (from: string, to: string) => {
      expect(text).toContain(from)
      expect(from.length).toBe(to.length)
      return () => parseCertificate(Buffer.from(text.replace(from, to), 'latin1'))
    }
    expect(change('lead@example.org', 'lead\0example.org')).toThrow(/common name is not plain text/)
    // 2.5.4.10 (organization) becomes a second 2.5.4.3
    expect(change('\x55\x04\x0a\x0c\x05org_b', '\x55\x04\x03\x0c\x05org_b')).toThrow(
      /more than one common name/,
    )
  })
})

describe('DER', () => {
  it('keeps every content through a round trip', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000, size: 'max' }), (content) => {
        const reader = new DerReader(der(0x04, content))
        expect(Buffer.compare(reader.read(0x04).content, content)).toBe(0)
        expect(reader.done).toBe(true)
      }),
      { numRuns: 20 },
    )
  })

  it('keeps every object identifier through a round trip', () => {
    const arcs = fc.tuple(
      fc.nat(2),
      fc.nat(39),
      fc.array(fc.bigInt({ min: 0n, max: 1n << 128n }), { maxLength: 6 }),
    )
    fc.assert(
      fc.property(arcs, ([first, second, rest]) => {
        const dotted = [first, second, ...rest].join('.')
        expect(
          readObjectIdentifier(new DerReader(derObjectIdentifier(dotted)).read().content),
        ).toBe(dotted)
      }),
    )
  })

  it.each([
    ['an indefinite length', '3080'],
    ['a length longer than needed', '30810100'],
    ['an element past the end', '300500'],
    ['a tag of several octets', '1f8101'],
  ])('refuses %s', (_what, hex) => {
    expect(() => new DerReader(Buffer.from(hex, 'hex')).read()).toThrow(PkiError)
  })

  it('writes times until 2049 with two digits of the year, later ones with four', () => {
    const text = (iso: string) => Buffer.from(derTime(Date.parse(iso)).subarray(2)).toString()
    expect(text('2049-12-31T23:59:59Z')).toBe('491231235959Z')
    expect(text('2050-01-01T00:00:00Z')).toBe('20500101000000Z')
  })
})
