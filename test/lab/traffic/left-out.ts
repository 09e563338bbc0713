/** Kinds that the failovers by keepalived and those of hot standby leave out: they fail now and then, and why is not known yet. */
import { KINDS } from './kinds.js';

/**
 * FTP over IPv6. With 95 connections of these kinds alone each of three series of ten failovers by keepalived lost some:
 * data connections that nothing expected any more, and one EPRT without an answer.
 */
const LEFT_OUT = KINDS.map(({ name }) => name).filter((name) => name.startsWith('ftp6-'));

/** The kinds to be tried, and a note for the name of the tests. */
export const TRIED = KINDS.map(({ name }) => name).filter((name) => !LEFT_OUT.includes(name));
export const LEFT_OUT_NOTE = `not tried, for it fails now and then: ${LEFT_OUT.join(', ')}`;
