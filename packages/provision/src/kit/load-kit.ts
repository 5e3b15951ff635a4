import { resolve } from 'node:path'
import type { ConnectionSecurity } from '@hanse/contract'
import { type Identity, loadIdentity, type ParticipantType, parseCertificates } from '@hanse/pki'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import { type Dataset, datasetsSchema } from './datasets.ts'
import { DEFAULT_HANSE_SETTINGS, hanseSchema } from './hanse-settings.ts'
import type { Kit, KitServer } from './kit.ts'
import { KitFile } from './kit-layout.ts'
import { checkShape, KitReader, parseJson } from './kit-reader.ts'
import { adminResourcesSchema, serverResourcesSchema, siteResourcesSchema } from './kit-settings.ts'
import { verifyManifest } from './manifest.ts'
import { type PrivacyPolicy, privacySchema } from './privacy-policy.ts'

export interface LoadKitOptions {
  /** Ms since the epoch at which the certificates must be valid. */
  readonly now: number
}

/**
 * Reads and checks a startup kit, ours or stock's, before anything starts from it: its type, chain, key, expiry,
 * and, for kits that Hanse made, every signed file (`spec/provision.md` §3). A kit whose certificate does not
 * promise a manifest loads as a stock kit, with a warning.
 * @throws {ProvisionError} `ERR_KIT_*`
 * @throws {PkiError} when certificate, key and root do not fit or are not valid now
 */
export async function loadKit(directory: string, { now }: LoadKitOptions): Promise<Kit> {
  const reader = await KitReader.open(directory)
  const startup = await reader.readStartup()
  const type = typeOf(startup, reader.directory)
  const warnings: string[] = []

  const identity = readIdentity(type, startup, now)
  const configuration = readConfiguration(type, startup)
  await checkKeyMode(reader, type, identity, warnings)
  await checkIntegrity(reader, type, identity, configuration.project, startup, warnings)

  const customRoot = startup.get(KitFile.customRoot)
  const customRootPem =
    customRoot &&
    parseCertificates(text(customRoot), KitFile.customRoot)
      .map(({ pem }) => pem)
      .join('')
  const server: KitServer = { ...configuration.server, customRootPem }
  const readLocal = async (paths: readonly string[]) => {
    const file = await reader.readJson(paths)
    if (file !== undefined) await warnIfOthersWrite(reader, file.path, warnings)
    return file
  }
  const hanseFile = await readLocal(withDefault(KitFile.hanse))
  const hanse =
    hanseFile === undefined
      ? DEFAULT_HANSE_SETTINGS
      : checkShape(hanseFile.path, hanseFile.value, hanseSchema)
  if (hanseFile !== undefined && hanse.outboundProxy?.hasLogin)
    await warnIfOthersRead(reader, hanseFile.path, warnings)
  const common = {
    name: identity.name,
    project: configuration.project,
    directory: reader.directory,
    identity,
    server,
    hanse,
    warnings,
  }
  const resources = await readLocal(withDefault(KitFile.resources))
  const settings = <T>(schema: z.ZodType<T>): T =>
    checkShape(resources?.path ?? KitFile.resources, resources?.value ?? {}, schema)
  const { requireSignedJobs } = configuration
  const authorization = async () => {
    const policy = await readLocal(withDefault(KitFile.authorization))
    if (policy === undefined)
      warnings.push(`there is no ${KitFile.authorization}: everything will be denied`)
    return policy?.text
  }
  const privacy = async (side: 'server' | 'site') => {
    // Unlike the others it has no fallback: stock never loads `privacy.json.default` or `.sample`.
    const file = await readLocal([KitFile.privacy])
    return file && checkShape(file.path, file.value, privacySchema(side))
  }

  switch (configuration.type) {
    case 'server': {
      const { listen } = configuration
      return {
        ...common,
        type: 'server',
        listen: { host: hanse.listenHost, ...listen },
        settings: { ...settings(serverResourcesSchema), requireSignedJobs },
        authorizationPolicy: await authorization(),
        privacyPolicy: await privacy('server'),
      }
    }
    case 'site': {
      const file = await readLocal([KitFile.datasets])
      const datasets =
        file === undefined ? new Map() : checkShape(file.path, file.value, datasetsSchema)
      const privacyPolicy = await privacy('site')
      warnings.push(...unreachableDatasets(datasets, privacyPolicy))
      return {
        ...common,
        type: 'site',
        settings: { ...settings(siteResourcesSchema), requireSignedJobs },
        authorizationPolicy: await authorization(),
        privacyPolicy,
        datasets,
      }
    }
    case 'admin':
      return {
        ...common,
        type: 'admin',
        role: identity.role,
        settings: settings(adminResourcesSchema),
        uploadDirectory: resolve(reader.directory, configuration.uploadDirectory),
        downloadDirectory: resolve(reader.directory, configuration.downloadDirectory),
      }
    default:
      return configuration satisfies never
  }
}

/** One sentence for each data set that is for scopes that are not there: no job gets it. */
function unreachableDatasets(
  datasets: ReadonlyMap<string, Dataset>,
  privacyPolicy: PrivacyPolicy | undefined,
): string[] {
  return [...datasets].flatMap(([name, { scopes = [] }]) =>
    scopes
      .filter((scope) => privacyPolicy?.scopes.has(scope) !== true)
      .map(
        (scope) => `data set '${name}' is for scope '${scope}', which ${KitFile.privacy} has not`,
      ),
  )
}

const TYPE_FILES: ReadonlyMap<string, ParticipantType> = new Map([
  [KitFile.fedServer, 'server'],
  [KitFile.fedClient, 'site'],
  [KitFile.fedAdmin, 'admin'],
])

function typeOf(startup: ReadonlyMap<string, Uint8Array>, directory: string): ParticipantType {
  const types = [...TYPE_FILES].filter(([path]) => startup.has(path)).map(([, type]) => type)
  const [type, second] = types
  if (startup.has(KitFile.fedRelay))
    throw new ProvisionError(
      'ERR_KIT_TYPE',
      'this is the kit of a relay; relays are not in this version',
    )
  if (type === undefined)
    throw new ProvisionError(
      'ERR_KIT_TYPE',
      `${directory} is no startup kit: none of ${[...TYPE_FILES.keys()].join(', ')} is there`,
    )
  if (second !== undefined)
    throw new ProvisionError(
      'ERR_KIT_TYPE',
      `${directory} has files of a ${type} and of a ${second}; a kit is for one of them`,
    )
  return type
}

function identityFiles(type: ParticipantType): { certificate: string; key: string } {
  return type === 'server'
    ? { certificate: KitFile.serverCertificate, key: KitFile.serverKey }
    : { certificate: KitFile.clientCertificate, key: KitFile.clientKey }
}

function readIdentity(
  type: ParticipantType,
  startup: ReadonlyMap<string, Uint8Array>,
  now: number,
): Identity {
  const read = (path: string): string => {
    const bytes = startup.get(path)
    if (bytes === undefined)
      throw new ProvisionError('ERR_KIT_FILE', `${path} is missing; the kit is not complete`)
    return text(bytes)
  }
  const files = identityFiles(type)
  const identity = loadIdentity(
    { cert: read(files.certificate), key: read(files.key), root: read(KitFile.root) },
    { now },
  )
  const { kitMark } = identity.certificate
  if (kitMark !== undefined && kitMark.type !== type)
    throw new ProvisionError(
      'ERR_KIT_TYPE',
      `the certificate was issued for a kit of type ${kitMark.type}, but this kit is of type ${type}`,
    )
  return identity
}

type Configuration = {
  readonly project: string
  readonly server: Omit<KitServer, 'customRootPem'>
  readonly requireSignedJobs: boolean | undefined
} & (
  | {
      readonly type: 'server'
      readonly listen: { readonly port: number; readonly adminPort: number }
    }
  | { readonly type: 'site' }
  | { readonly type: 'admin'; readonly uploadDirectory: string; readonly downloadDirectory: string }
)

const portSchema = z.int().min(1).max(65_535)

const securitySchema = z
  .string()
  .transform((value) => value.toLowerCase())
  .pipe(z.enum(['mtls', 'tls', 'clear']))
  // Kits from before the key existed; every start script asks for secure mode, which means mTLS.
  .default('mtls')

const targetSchema = z
  .string()
  .max(300)
  .regex(/^[^:\s/]+:\d{1,5}$/, 'host:port is allowed')
  .transform((target, context) => {
    const [host = '', portText = ''] = target.split(':')
    const port = portSchema.safeParse(Number(portText))
    if (!port.success || host === 'None') {
      context.addIssue({
        code: 'custom',
        message: `saw ${target}; a host and a port from 1 to 65535 are allowed`,
      })
      return z.NEVER
    }
    return { host, port: port.data }
  })

const serviceSchema = z.object({ target: targetSchema, scheme: z.string().min(1).max(32) })

const fedServerSchema = z.object({
  require_signed_jobs: z.boolean().optional(),
  servers: z
    .array(
      z.object({
        name: z.string().min(1),
        service: serviceSchema,
        admin_port: portSchema.optional(),
        connection_security: securitySchema,
        auth_identity: z.string().optional(),
      }),
    )
    .min(1),
})

const fedClientSchema = z.object({
  require_signed_jobs: z.boolean().optional(),
  servers: z
    .array(
      z.object({
        name: z.string().min(1),
        service: serviceSchema,
        identity: z.string().min(1).optional(),
      }),
    )
    .min(1),
  client: z.object({ connection_security: securitySchema }),
})

const fedAdminSchema = z.object({
  admin: z.object({
    project_name: z.string().min(1),
    server_identity: z.string().min(1),
    scheme: z.string().min(1).max(32),
    host: z.string().min(1).max(255),
    port: portSchema,
    connection_security: securitySchema,
    upload_dir: z.string().default('transfer'),
    download_dir: z.string().default('transfer'),
  }),
})

function readConfiguration(
  type: ParticipantType,
  startup: ReadonlyMap<string, Uint8Array>,
): Configuration {
  const read = <T>(path: string, schema: z.ZodType<T>): T =>
    checkShape(path, parseJson(path, startup.get(path) ?? new Uint8Array()), schema)
  switch (type) {
    case 'server': {
      const file = read(KitFile.fedServer, fedServerSchema)
      const server = file.servers[0]!
      const { host, port } = server.service.target
      return {
        type,
        project: server.name,
        requireSignedJobs: file.require_signed_jobs,
        server: {
          identity: server.auth_identity ?? host,
          ...address(server.service, server.connection_security),
        },
        listen: { port, adminPort: server.admin_port ?? port },
      }
    }
    case 'site': {
      const file = read(KitFile.fedClient, fedClientSchema)
      const server = file.servers[0]!
      return {
        type,
        project: server.name,
        requireSignedJobs: file.require_signed_jobs,
        server: {
          identity: server.identity ?? server.service.target.host,
          ...address(server.service, file.client.connection_security),
        },
      }
    }
    case 'admin': {
      const { admin } = read(KitFile.fedAdmin, fedAdminSchema)
      return {
        type,
        project: admin.project_name,
        requireSignedJobs: undefined,
        server: {
          identity: admin.server_identity,
          host: admin.host,
          port: admin.port,
          scheme: admin.scheme,
          connectionSecurity: admin.connection_security,
        },
        uploadDirectory: admin.upload_dir,
        downloadDirectory: admin.download_dir,
      }
    }
    default:
      return type satisfies never
  }
}

function address(service: z.infer<typeof serviceSchema>, connectionSecurity: ConnectionSecurity) {
  return {
    host: service.target.host,
    port: service.target.port,
    scheme: service.scheme,
    connectionSecurity,
  }
}

async function checkKeyMode(
  reader: KitReader,
  type: ParticipantType,
  identity: Identity,
  warnings: string[],
): Promise<void> {
  const path = identityFiles(type).key
  const mode = await reader.modeOf(path)
  if (mode === undefined || (mode & 0o077) === 0) return
  const what = `${path} has mode ${octal(mode)}, others may use it: run chmod 600 ${path}`
  // Stock starts from such a kit, so it stays a warning there; our kits are written with 0600.
  if (identity.certificate.kitMark === undefined) warnings.push(what)
  else throw new ProvisionError('ERR_KIT_KEY_MODE', what)
}

/** The site's own files are not under the signature: the file system is all that protects them. */
async function warnIfOthersWrite(
  reader: KitReader,
  path: string,
  warnings: string[],
): Promise<void> {
  const mode = await reader.modeOf(path)
  if (mode !== undefined && (mode & 0o022) !== 0)
    warnings.push(`${path} has mode ${octal(mode)}, others may change it: run chmod go-w ${path}`)
}

/** It holds a password of the proxy. */
async function warnIfOthersRead(
  reader: KitReader,
  path: string,
  warnings: string[],
): Promise<void> {
  const mode = await reader.modeOf(path)
  if (mode !== undefined && (mode & 0o077) !== 0)
    warnings.push(
      `${path} has a password in it and mode ${octal(mode)}, others may read it: run chmod 600 ${path}`,
    )
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

async function checkIntegrity(
  reader: KitReader,
  type: ParticipantType,
  identity: Identity,
  project: string,
  startup: ReadonlyMap<string, Uint8Array>,
  warnings: string[],
): Promise<void> {
  if (identity.certificate.kitMark === undefined) {
    if (startup.has(KitFile.manifest))
      throw new ProvisionError(
        'ERR_KIT_MANIFEST',
        `${KitFile.manifest} is there, but the certificate was not issued for a kit with a manifest: files of two kits are mixed`,
      )
    warnings.push('a stock kit: it has no signed manifest, so changes to its files are not noticed')
    return
  }
  await verifyManifest(
    { project, name: identity.name, type, certificate: identity.certificate },
    identity.anchor,
    { startup, readOther: (path) => reader.readOptional(path) },
  )
}

function withDefault(path: string): readonly string[] {
  return [path, `${path}.default`]
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
