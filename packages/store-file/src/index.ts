export { type FileJobStoreComponents, openFileJobStore } from './file-job-store.ts'
