import type { AnyParticipant, Project } from '../project/project.ts'
import { COMPONENT_ALLOW_LIST } from './component-allow-list.ts'
import { DEFAULT_HANSE_FILE } from './hanse-settings.ts'
import { jsonEntry, type KitEntries, type KitEntry, scriptEntry, textEntry } from './kit-layout.ts'
import { readmeText } from './readme-text.ts'
import { ADMIN_SCRIPT, START_SCRIPT, STOP_SCRIPT, superviseScript } from './scripts.ts'
import { siteDefaults } from './site-defaults.ts'

type Server = Extract<AnyParticipant, { type: 'server' }>
type Site = Extract<AnyParticipant, { type: 'site' }>
type Admin = Extract<AnyParticipant, { type: 'admin' }>

/**
 * Everything of a participant's kit but certificates, keys and the manifest (`spec/provision.md` §3). Pure: the
 * same project gives the same files.
 */
export function kitEntries(project: Project, participant: AnyParticipant): KitEntries {
  switch (participant.type) {
    case 'server':
      return serverEntries(project, participant)
    case 'site':
      return siteEntries(project, participant)
    case 'admin':
      return adminEntries(project, participant)
    default:
      return participant satisfies never
  }
}

/** Order and names of `spec/provision.md` §3.1 and §3.2: the flag stands only if the project file says so. */
function signedJobs({ requireSignedJobs }: Project) {
  return requireSignedJobs === undefined ? {} : { require_signed_jobs: requireSignedJobs }
}

function serverEntries(project: Project, server: Server): KitEntries {
  const entries = new Map<string, KitEntry>([
    [
      'startup/fed_server.json',
      jsonEntry({
        format_version: 2,
        ...signedJobs(project),
        servers: [
          {
            name: project.name,
            service: { target: `${server.name}:${server.port}`, scheme: project.scheme },
            admin_server: server.name,
            admin_port: server.adminPort,
            ssl_private_key: 'server.key',
            ssl_cert: 'server.crt',
            ssl_root_cert: 'rootCA.pem',
            connection_security: server.connectionSecurity,
          },
        ],
      }),
    ],
    ['startup/start.sh', scriptEntry(START_SCRIPT)],
    [
      'startup/sub_start.sh',
      scriptEntry(
        superviseScript({
          module: 'server.server_train',
          configuration: 'fed_server.json',
          uid: undefined,
          org: server.org,
        }),
      ),
    ],
    ['startup/stop_fl.sh', scriptEntry(STOP_SCRIPT)],
    ['readme.txt', textEntry(readmeText(project, server))],
    ['local/resources.json.default', jsonEntry(serverResources())],
    ...siteDefaults(),
    ['local/hanse.json.default', jsonEntry(DEFAULT_HANSE_FILE)],
  ])
  if (project.studies !== undefined)
    entries.set(
      'local/study_registry.json',
      jsonEntry({
        format_version: '1.0',
        studies: Object.fromEntries(
          [...project.studies].map(([name, { siteOrgs, admins }]) => [
            name,
            siteOrgs.size === 0 && admins.length === 0
              ? {}
              : { site_orgs: Object.fromEntries(siteOrgs), admins },
          ]),
        ),
      }),
    )
  return entries
}

function siteEntries(project: Project, site: Site): KitEntries {
  return new Map<string, KitEntry>([
    [
      'startup/fed_client.json',
      jsonEntry({
        format_version: 2,
        ...signedJobs(project),
        servers: [
          {
            name: project.name,
            service: {
              target: `${site.connectTo.host}:${site.connectTo.port}`,
              scheme: project.scheme,
            },
            identity: project.server.name,
          },
        ],
        client: {
          ssl_private_key: 'client.key',
          ssl_cert: 'client.crt',
          ssl_root_cert: 'rootCA.pem',
          fqsn: site.name,
          is_leaf: true,
          connection_security: site.connectionSecurity,
        },
      }),
    ],
    ['startup/start.sh', scriptEntry(START_SCRIPT)],
    [
      'startup/sub_start.sh',
      scriptEntry(
        superviseScript({
          module: 'client.client_train',
          configuration: 'fed_client.json',
          uid: site.name,
          org: site.org,
        }),
      ),
    ],
    ['startup/stop_fl.sh', scriptEntry(STOP_SCRIPT)],
    ['readme.txt', textEntry(readmeText(project, site))],
    ['local/resources.json.default', jsonEntry(siteResources(site))],
    ...siteDefaults(),
    ['local/hanse.json.default', jsonEntry(DEFAULT_HANSE_FILE)],
    [
      'local/datasets.json.sample',
      jsonEntry({
        format_version: 1,
        datasets: { example: { path: '/data/example', scopes: ['public'] } },
      }),
    ],
  ])
}

function adminEntries(project: Project, admin: Admin): KitEntries {
  return new Map<string, KitEntry>([
    [
      'startup/fed_admin.json',
      jsonEntry({
        format_version: 1,
        admin: {
          project_name: project.name,
          username: admin.name,
          server_identity: project.server.name,
          scheme: project.scheme,
          host: admin.connectTo.host,
          port: admin.connectTo.port,
          connection_security: admin.connectionSecurity,
          uid_source: 'user_input',
          with_file_transfer: true,
          upload_dir: 'transfer',
          download_dir: 'transfer',
          client_key: 'client.key',
          client_cert: 'client.crt',
          ca_cert: 'rootCA.pem',
        },
      }),
    ],
    ['startup/fl_admin.sh', scriptEntry(ADMIN_SCRIPT)],
    ['startup/readme.txt', textEntry(readmeText(project, admin))],
    [
      'local/resources.json.default',
      jsonEntry({
        format_version: 1,
        admin: {
          idle_timeout: 900,
          login_timeout: 10,
          with_debug: false,
          authenticate_msg_timeout: 2,
          prompt: '> ',
        },
      }),
    ],
  ])
}

const COMPONENT_POLICY = {
  format_version: 2,
  class_list_enforcement_mode: 'enforce',
  class_allow_list: COMPONENT_ALLOW_LIST,
} as const

/**
 * Stock's processes change into the kit's folder before they open their stores, but take absolute paths only:
 * this is the absolute path of wherever that folder is, so that nothing lies in a shared temporary folder.
 */
const WORKING_FOLDER = '/proc/self/cwd'

function serverResources() {
  const storage = 'nvflare.app_common.storages.filesystem_storage.FilesystemStorage'
  return {
    ...COMPONENT_POLICY,
    servers: [
      {
        admin_storage: 'transfer',
        max_num_clients: 100,
        heart_beat_timeout: 30,
        dead_client_grace_period: 15,
        admin_timeout: 10,
      },
    ],
    snapshot_persistor: {
      path: 'nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor',
      args: {
        uri_root: '/',
        storage: {
          path: storage,
          args: { root_dir: `${WORKING_FOLDER}/snapshot-storage`, uri_root: '/' },
        },
      },
    },
    components: [
      {
        id: 'job_scheduler',
        path: 'nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler',
        args: { max_jobs: 4 },
      },
      {
        id: 'job_manager',
        path: 'nvflare.apis.impl.job_def_manager.SimpleJobDefManager',
        args: { uri_root: '/', job_store_id: 'job_store' },
      },
      {
        id: 'job_store',
        path: storage,
        args: { root_dir: `${WORKING_FOLDER}/jobs-storage`, uri_root: '/' },
      },
      {
        id: 'process_launcher',
        path: 'nvflare.app_common.job_launcher.server_process_launcher.ServerProcessJobLauncher',
        args: {},
      },
      {
        id: 'log_receiver',
        path: 'nvflare.app_common.logging.job_log_receiver.JobLogReceiver',
        args: {},
      },
    ],
  }
}

function siteResources(site: Site) {
  return {
    ...COMPONENT_POLICY,
    allow_log_streaming: site.allowLogStreaming,
    client: { retry_timeout: 30, compression: 'Gzip' },
    components: [
      {
        id: 'resource_manager',
        path: 'nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager',
        args: {
          num_of_gpus: site.gpus,
          mem_per_gpu_in_GiB: site.gpuMemoryGib,
          expiration_period: 300,
        },
      },
      {
        id: 'resource_consumer',
        path: 'nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer',
        args: {},
      },
      {
        id: 'process_launcher',
        path: 'nvflare.app_common.job_launcher.client_process_launcher.ClientProcessJobLauncher',
        args: {},
      },
      {
        id: 'site_log_streamer',
        path: 'nvflare.app_common.logging.site_log_streamer.SiteLogStreamer',
        args: { log_file_name: 'error_log.txt' },
      },
    ],
  }
}
