/** What the gateway is held to, and how much of each fault there is. All times are in milliseconds. */
export interface Figures {
  readonly deadlines: {
    /** Waiting for a connection to the database. */
    readonly waitMs: number
    readonly statementMs: number
    readonly requestMs: number
  }
  readonly limits: Limits
  readonly poolSize: number
  readonly writers: number
  readonly readers: number
  readonly scale: Scale
}

export interface Limits {
  /** From the return of the database to the first acknowledged write. */
  readonly firstWriteMs: number
  /** From the return of the database to a pool that has all its connections again. */
  readonly poolFullMs: number
  /** From the start of the gateway to its word that it is ready. */
  readonly readyMs: number
  /** From SIGTERM to the end of the process. */
  readonly exitMs: number
  /** Share of one core, while the database is down. */
  readonly cpuShare: number
  /** How long a request may take where the system tells that a connection is over: waiting for another, and a moment. */
  readonly toldMs: number
  /** How long a request may take where a process has ended. */
  readonly processEndMs: number
  /** How long any request may take: its deadline, and a moment. */
  readonly answerMs: number
}

export type AnswerLimit = 'toldMs' | 'processEndMs' | 'answerMs'

export interface Scale {
  readonly kills: number
  readonly losses: number
  readonly sigterms: number
  /** Rounds of answers that are lost, for each kind of change. */
  readonly lostAnswers: number
  /** How long the database is away, the link is broken, the disk is full. */
  readonly holdMs: number
  /** How long nothing comes through: long enough for every deadline. */
  readonly stallMs: number
  readonly terminateMs: number
  readonly lockMs: number
  /** Undisturbed writing before a fault, and after it. */
  readonly calmMs: number
}

export const fullFigures: Figures = {
  deadlines: { waitMs: 2000, statementMs: 5000, requestMs: 10_000 },
  limits: {
    firstWriteMs: 2000,
    poolFullMs: 5000,
    readyMs: 3000,
    exitMs: 10_000,
    cpuShare: 0.2,
    toldMs: 3000,
    processEndMs: 6000,
    answerMs: 11_000,
  },
  poolSize: 10,
  writers: 16,
  readers: 2,
  scale: {
    kills: 50,
    losses: 20,
    sigterms: 20,
    lostAnswers: 10,
    holdMs: 8000,
    stallMs: 13_000,
    terminateMs: 10_000,
    lockMs: 10_000,
    calmMs: 1000,
  },
}

/**
 * The same faults, fewer and shorter, with deadlines that fit them. It runs beside other tests on a busy machine, so it is
 * as strict about data and answers, and more patient about time.
 */
export const shortFigures: Figures = {
  deadlines: { waitMs: 700, statementMs: 1500, requestMs: 3000 },
  limits: {
    firstWriteMs: 5000,
    poolFullMs: 10_000,
    readyMs: 15_000,
    exitMs: 10_000,
    cpuShare: 0.5,
    toldMs: 6000,
    processEndMs: 6000,
    answerMs: 6000,
  },
  poolSize: 10,
  writers: 16,
  readers: 2,
  scale: {
    kills: 3,
    losses: 2,
    sigterms: 2,
    lostAnswers: 1,
    holdMs: 700,
    stallMs: 2300,
    terminateMs: 700,
    lockMs: 1900,
    calmMs: 150,
  },
}
