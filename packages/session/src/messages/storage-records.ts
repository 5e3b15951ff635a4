import { arrayData, defineRecord, type FobsCodec, type RecordType, textData } from '@hanse/fobs'

// Types that belong into a peer's storage or its own process (fobs.md §10.6, §13.3 rule 7). No message needs them,
// so no process that talks to the network registers them.

const EVENT_RECORDER = 'nvflare.app_common.widgets.event_recorder.'

/** State of a run's components in a snapshot. */
export const runSnapshotRecord: RecordType = defineRecord('nvflare.apis.fl_snapshot.RunSnapshot', {
  attributes: ['component_states', 'completed', 'job_id'],
})

/** An abort signal. */
export const signalRecord: RecordType = defineRecord('nvflare.apis.signal.Signal', {
  attributes: ['_value', '_trigger_time', '_triggered', '_parent'],
})

/** Parsed command line arguments. */
export const namespaceRecord: RecordType = defineRecord('argparse.Namespace', {
  attributes: 'any',
})

/** State of a run. */
export const runInfoRecord: RecordType = defineRecord(
  'nvflare.private.fed.server.run_info.RunInfo',
  { attributes: ['job_id', 'start_time', 'app_path', 'status'] },
)

/** Which server is active. */
export const hotStateRecord: RecordType = defineRecord(
  'nvflare.private.fed.server.server_state.HotState',
  { attributes: ['host', 'service_port', 'ssid'] },
)

/** A requirement on a property of a context. */
export const contextPropertyRequirementRecord: RecordType = defineRecord(
  `${EVENT_RECORDER}_CtxPropReq`,
  { attributes: ['dtype', 'is_private', 'is_sticky', 'allow_none'] },
)

/** What an event requires of contexts. */
export const eventRequirementRecord: RecordType = defineRecord(`${EVENT_RECORDER}_EventReq`, {
  attributes: ['ctx_reqs', 'peer_ctx_reqs', 'ctx_block_list', 'peer_ctx_block_list'],
})

/** How often an event's requirements were not met. */
export const eventStatisticsRecord: RecordType = defineRecord(`${EVENT_RECORDER}_EventStats`, {
  attributes: [
    'call_count',
    'prop_missing',
    'prop_none_value',
    'prop_dtype_mismatch',
    'prop_attr_mismatch',
    'prop_block_list_violation',
    'peer_ctx_missing',
  ],
})

/** Where a peer keeps its files. Names only: nothing here looks at the disk. */
export class WorkspacePaths {
  readonly rootFolder: string
  readonly siteName: string
  readonly configFolder: string

  constructor(rootFolder: string, siteName: string, configFolder: string) {
    this.rootFolder = rootFolder
    this.siteName = siteName
    this.configFolder = configFolder
  }
}

const WORKSPACE = 'nvflare.apis.workspace.Workspace'

export const workspacePathsCodec: FobsCodec<WorkspacePaths> = {
  typeName: WORKSPACE,
  decomposer: 'nvflare.apis.utils.decomposers.flare_decomposers.WorkspaceDecomposer',
  class: WorkspacePaths,
  compose(data) {
    const [root, site, config] = arrayData(WORKSPACE, data, 3).map((part) =>
      textData(WORKSPACE, part),
    ) as [string, string, string] // length checked
    return new WorkspacePaths(root, site, config)
  },
  decompose: ({ rootFolder, siteName, configFolder }) => [rootFolder, siteName, configFolder],
}
