import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { explainTls } from '@hanse/driver-socket'
import { type Kit, linkSecurity } from '@hanse/provision/kit'
import type { Fault } from './fault.ts'
import { openWay } from './open-way.ts'
import { type Patient, placeOf } from './patient.ts'
import { answersFewBytes, largePacketsFault } from './probe-size.ts'
import { sniff } from './sniff.ts'
import { within } from './within.ts'

/** After the handshake: time for a listener to say that it does not want our certificate (TLS 1.3 says it late). */
const REFUSAL_WAIT_MS = 700

/** Whether both sides can agree on TLS and accept each other's certificates; in mode `clear`, whether there is none. */
export async function checkTls(patient: Patient): Promise<readonly Fault[]> {
  if (patient.kit.server.connectionSecurity === 'clear') return await checkClear(patient)
  const handshake = await shakeHands(patient)
  switch (handshake.outcome) {
    case 'secure': {
      const { chain, fault, refusal } = handshake
      return [
        ...serverCertificateFaults(patient, chain, fault),
        ...(refusal === undefined ? [] : [refusalFault(patient, refusal)]),
      ]
    }
    case 'refused':
      return [refusalFault(patient, handshake)]
    case 'timeout':
      if (await answersFewBytes(patient))
        return [
          largePacketsFault(
            patient,
            'the port answers the few bytes of a broken TLS message, but not the first message of a handshake, which is longer than one packet',
          ),
        ]
      return [
        {
          code: 'handshake-stalled',
          what: `${placeOf(patient)} accepts connections, but TLS does not come about`,
          seen: `no answer to the first message of TLS within ${patient.timeoutMs / 1000} s`,
          expected: 'a TLS handshake',
          fix:
            'something else may listen there, or a device on the way inspects TLS: try from another network, and ' +
            'have this address exempted from inspection',
        },
      ]
    case 'no-tls':
      return [await plainPortFault(patient, handshake.seen)]
    default:
      return handshake satisfies never
  }
}

type Handshake =
  | {
      readonly outcome: 'secure'
      /** As sent, leaf first. */
      readonly chain: readonly X509Certificate[]
      /** Why the chain does not hold; `undefined` if it does. */
      readonly fault: string | undefined
      /** Why the listener does not want us; `undefined` if it said nothing. */
      readonly refusal: Refusal | undefined
    }
  | (Refusal & { readonly outcome: 'refused' })
  | { readonly outcome: 'no-tls'; readonly seen: string }
  | { readonly outcome: 'timeout' }

interface Refusal {
  /** As `explainTls` says it. */
  readonly reason: string
  readonly text: string
}

function tlsOptions({ kit, address }: Patient): ConnectionOptions {
  const { server, identity } = kit
  const presents = server.connectionSecurity === 'mtls'
  return {
    ca: trustedRoot(kit),
    ...(presents && { cert: identity.tls.cert, key: identity.tls.key }),
    ...(isIP(address.host) === 0 && { servername: address.host }),
    ...(server.scheme.startsWith('grpc') && { ALPNProtocols: ['h2'] }),
    minVersion: 'TLSv1.2',
    // We look at what is wrong with it ourselves, and send nothing over this connection.
    rejectUnauthorized: false,
  }
}

async function shakeHands(patient: Patient): Promise<Handshake> {
  const { kit, clock, timeoutMs } = patient
  const way = await openWay(patient)
  if (way.outcome === 'failed') return { outcome: 'no-tls', seen: way.reason }
  const plain = way.socket
  const socket = connect({ ...tlsOptions(patient), socket: plain })
  let report: (failure: Handshake) => void = () => {}
  const onFailure = (error: Error | undefined) => report(failureOf(error))
  plain.on('error', onFailure)
  socket.on('error', onFailure)
  socket.on('close', () => onFailure(undefined))
  try {
    const secure = await within<Handshake>(clock, timeoutMs, (done) => {
      report = done
      socket.once('secureConnect', () =>
        done({
          outcome: 'secure',
          chain: chainOf(socket),
          fault: socket.authorizationError && String(socket.authorizationError),
          refusal: undefined,
        }),
      )
    })
    if (secure === 'timeout') return { outcome: 'timeout' }
    if (secure.outcome !== 'secure') return secure
    const after = await within<Handshake>(clock, REFUSAL_WAIT_MS, (done) => {
      report = done
      socket.resume()
    })
    if (after === 'timeout') return secure
    if (after.outcome === 'refused') return { ...secure, refusal: after }
    // Some say nothing when they do not want a certificate.
    return kit.server.connectionSecurity === 'mtls'
      ? {
          ...secure,
          refusal: {
            reason: 'untrusted',
            text: 'it closed the connection right after the handshake',
          },
        }
      : secure
  } finally {
    socket.destroy()
    plain.destroy()
  }
}

function failureOf(error: Error | undefined): Handshake {
  const tls = error && explainTls(error)
  if (tls === undefined)
    return { outcome: 'no-tls', seen: 'the connection was closed when TLS began' }
  return tls.reason === 'not-tls'
    ? { outcome: 'no-tls', seen: 'the answer was not TLS' }
    : { outcome: 'refused', ...tls }
}

function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = []
  let certificate = socket.getPeerCertificate(true)
  while (certificate?.raw !== undefined) {
    chain.push(new X509Certificate(certificate.raw))
    const { issuerCertificate } = certificate
    if (issuerCertificate === undefined || issuerCertificate === certificate) break
    certificate = issuerCertificate
  }
  return chain
}

function serverCertificateFaults(
  patient: Patient,
  chain: readonly X509Certificate[],
  problem: string | undefined,
): readonly Fault[] {
  const { kit, clock } = patient
  const [leaf] = chain
  if (leaf === undefined) return []
  const faults: Fault[] = []
  const now = clock.now()
  const expired = chain.find(({ validToDate }) => validToDate.getTime() < now)
  const early = chain.find(({ validFromDate }) => validFromDate.getTime() > now)
  if (expired !== undefined)
    faults.push({
      code: 'server-certificate-expired',
      what: `a certificate of ${placeOf(patient)} has expired`,
      seen: `'${nameIn(expired.subject)}' was valid until ${expired.validToDate.toISOString()}`,
      expected: 'a certificate that is valid today',
      fix: 'the project admin makes a new kit for the server (or the owner of the proxy renews its certificate); if the date here is wrong, set the clock',
    })
  if (early !== undefined)
    faults.push({
      code: 'clock-skew',
      what: 'the certificate of the server is not valid yet, so a clock is probably wrong',
      seen: `it is valid from ${early.validFromDate.toISOString()}; the clock here says ${new Date(now).toISOString()}`,
      expected: 'clocks that are right to the minute',
      fix: 'set the clock of this machine, or of the one that made the certificate, best by NTP',
    })
  const reason = problem && explainTls(coded(problem))?.reason
  if (reason === 'untrusted') faults.push(untrustedFault(patient, chain))
  if (reason === 'purpose')
    faults.push({
      code: 'server-identity',
      what: `who answers at ${placeOf(patient)} is no server`,
      seen: `the certificate of '${nameIn(leaf.subject)}', which was not issued for servers`,
      expected: `the certificate of ${kit.server.identity}`,
      fix: 'see whether another participant of the league listens at this address',
    })
  const expectedName = patient.address.host
  const fits = isIP(expectedName) === 0 ? leaf.checkHost(expectedName) : leaf.checkIP(expectedName)
  if (fits === undefined && kit.type !== 'server')
    faults.push({
      code: 'name-not-in-certificate',
      what: `the certificate at ${placeOf(patient)} is not for the name ${expectedName}`,
      seen: `it is for ${leaf.subjectAltName ?? nameIn(leaf.subject)}`,
      expected: `${expectedName} among its names`,
      fix: 'dial the server under one of these names (connect_to), or have its kit made anew with this one under host_names',
    })
  return faults
}

function untrustedFault(patient: Patient, chain: readonly X509Certificate[]): Fault {
  const last = chain.at(-1) as X509Certificate
  const expected = `a chain up to '${nameIn(new X509Certificate(trustedRoot(patient.kit)).subject)}'`
  if (chain.length > 1 && last.subject !== last.issuer)
    return {
      code: 'chain-incomplete',
      what: `${placeOf(patient)} does not send all of its certificates`,
      seen: `${chain.map(({ subject }) => `'${nameIn(subject)}'`).join(', ')}; the one of '${nameIn(last.issuer)}' is missing`,
      expected,
      fix: 'configure the full chain at the server or proxy: its certificate, then each one above it',
    }
  return {
    code: 'wrong-ca',
    what: `the certificate at ${placeOf(patient)} comes from another authority`,
    seen: `issued to '${nameIn(last.subject)}' by '${nameIn(last.issuer)}'`,
    expected,
    fix:
      'see whether this address belongs to another league, or to a proxy or inspection device: behind a proxy that ' +
      'ends TLS the kit needs connection_security: tls and its root as custom_ca_cert. If the issuer is an ' +
      'intermediate of the right authority, the server must send it',
  }
}

/** What the other end can have against our certificate; all else that it refuses is about TLS itself. */
const CERTIFICATE_REASONS: ReadonlySet<string> = new Set([
  'missing',
  'expired',
  'revoked',
  'untrusted',
  'purpose',
])

function refusalFault(patient: Patient, { reason, text }: Refusal): Fault {
  const { connectionSecurity } = patient.kit.server
  const expected = `a client certificate that ${placeOf(patient)} accepts`
  if (/NO_APPLICATION_PROTOCOL/.test(text)) return noHttp2Fault(patient, text)
  // We showed a certificate: it was not for the lack of one.
  const isShown = connectionSecurity === 'mtls'
  if (!CERTIFICATE_REASONS.has(reason) || (isShown && reason === 'missing'))
    return {
      code: 'handshake-failed',
      what: `${placeOf(patient)} speaks TLS, but cannot agree on it with us`,
      seen: text,
      expected: 'TLS 1.2 or newer with a key exchange and ciphers that both sides have',
      fix: 'the log of the server or of the proxy there says why; bring its TLS up to date',
    }
  return reason === 'missing'
    ? {
        code: 'client-certificate-missing',
        what: `${placeOf(patient)} demands a certificate, and this kit shows none`,
        seen: text,
        expected,
        fix: 'the kit says connection_security: tls, the server mtls: have one of them made anew',
      }
    : {
        code: 'client-certificate-refused',
        what: `${placeOf(patient)} does not accept our certificate`,
        seen: text,
        expected,
        fix: 'see whether kit and server are of the same league; if so, have the kit made anew',
      }
}

async function plainPortFault(patient: Patient, seen: string): Promise<Fault> {
  const sniffed = await sniff(patient)
  if (sniffed.speaks === 'http') return httpFault(patient, sniffed.answer)
  if (sniffed.speaks === 'tls')
    return {
      code: 'handshake-failed',
      what: `${placeOf(patient)} speaks TLS, but ends it at once`,
      seen,
      expected: 'a TLS handshake',
      fix: 'the log of the server or of the proxy there says why; TLS 1.2 or newer is needed on both sides',
    }
  return {
    code: 'clear-port',
    what: `${placeOf(patient)} does not speak TLS`,
    seen,
    expected: `TLS, for this kit says connection_security: ${patient.kit.server.connectionSecurity}`,
    fix:
      'compare the port with the one of the server; if a proxy ends TLS there, this must be its outer port; an ' +
      `ingress there may not know ${patient.address.host}`,
  }
}

async function checkClear(patient: Patient): Promise<readonly Fault[]> {
  const { scheme } = patient.kit.server
  const sniffed = await sniff(patient)
  if (sniffed.speaks === 'tls' || (sniffed.speaks === 'nothing' && (await speaksTls(patient))))
    return [
      {
        code: 'tls-port',
        what: `${placeOf(patient)} speaks TLS`,
        seen: 'TLS, and no answer to clear text',
        expected: 'no TLS, for this kit says connection_security: clear',
        fix: 'have the kit made anew with connection_security: tls or mtls, as the server has it',
      },
    ]
  if (sniffed.speaks === 'http' && scheme === 'tcp') return [httpFault(patient, sniffed.answer)]
  return []
}

async function speaksTls(patient: Patient): Promise<boolean> {
  const { outcome } = await shakeHands(patient)
  return outcome === 'secure' || outcome === 'refused'
}

export function noHttp2Fault(patient: Patient, seen: string): Fault {
  return {
    code: 'other-protocol',
    what: `${placeOf(patient)} speaks TLS, but not HTTP/2 inside it`,
    seen,
    expected: `HTTP/2 (ALPN h2), which ${patient.kit.server.scheme} needs`,
    fix: 'compare scheme and port with those of the server; a proxy that ends TLS there must offer HTTP/2',
  }
}

export function httpFault(patient: Patient, answer: string): Fault {
  return {
    code: 'http-answer',
    what: `a web server or proxy answers at ${placeOf(patient)}, not the server of the league`,
    seen: answer,
    expected: `what ${patient.kit.server.scheme} peers say`,
    fix: 'see what this port belongs to; 502 and 503 mean that a proxy does not reach the server, a login page that it wants a person first',
  }
}

function trustedRoot(kit: Kit): string {
  return linkSecurity(kit).tls?.ca ?? kit.identity.tls.ca
}

/** Common name, or all of it. */
function nameIn(subject: string): string {
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? subject.replaceAll('\n', ', ')
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code })
}
