/** Every limit in one place: name, unit, reason. */

/** Payload of one netlink message that is decoded; a conntrack event is under 500 bytes. Bytes. */
export const NETLINK_MESSAGE_MAX_BYTES = 8192;
/** Datagrams read by one recvmmsg. */
export const EVENT_BATCH = 256;
/**
 * How long changes of flows wait for each other while they come steadily (400 a second and more), and half as long again
 * at most; creations do not wait, and take along what waits. A TCP connection makes seven events within a few round trips,
 * and each would be a wake-up of some 50 us. Milliseconds.
 */
export const EVENT_HOLD_MS = 4;
/** Time one slice of work may hold the event loop. Milliseconds. */
export const SLICE_BUDGET_MS = 1;
/** The same for a promote: a takeover waits for it, and the loop's own round costs it a hundredth less. Milliseconds. */
export const CHANGE_SLICE_MS = 2;
/** Time between two ticks while something is under way that only time moves on. Milliseconds. */
export const TICK_MS = 10;
/**
 * The same while nothing is: what has a time of its own (heartbeats, MARKs, acknowledgements, silence, audits) is told by
 * `dueAt`, and the rest are looks that may be so much late. Below STALL_MS, which is what a loop that was held looks like.
 * Milliseconds.
 */
export const REST_TICK_MS = 200;
/** Requests sent to the kernel in one datagram: 64 to 128 is where the rate is flat and no answer is lost. */
export const INJECT_BATCH = 128;
/**
 * Time between two steps of a backup's dry runs: 1 to 7 ms each, and one of 14 was seen while code was cold. They are
 * over in six seconds. Milliseconds.
 */
export const REHEARSAL_STEP_MS = 25;
/** Time between two looks whether one may begin, on a node that is no idle backup. Milliseconds. */
export const REHEARSAL_LOOK_MS = 1000;
/** Time between two of them: some 50 to 200 ms of work, 0.03 % of a core at most. Milliseconds. */
export const REHEARSAL_INTERVAL_MS = 600_000;
/** Default receive buffer of the event socket. Bytes; an event takes 1,280 of them. */
export const EVENT_BUFFER_DEFAULT_BYTES = 64 << 20;
/** Default receive buffer of a program that listens through the library: 13,000 events, a tenth of a second of a flood. Bytes. */
export const LIBRARY_EVENT_BUFFER_BYTES = 16 << 20;
/** Owners ((node, incarnation) pairs) one table knows at a time; one byte a slot. */
export const OWNERS_MAX = 250;
/** Flows one table holds unless told otherwise. Address space only: memory is used as flows come. */
export const TABLE_FLOWS_MAX = 1 << 22;
/** Expectations of one owner; a kernel's own limit (nf_conntrack_expect_max) is 4,096 by default. */
export const EXPECTATIONS_MAX = 1 << 16;
/** Packed expectation: IPv6, translated, both names at their longest are 216. Bytes. */
export const EXPECTATION_MAX_BYTES = 256;
/**
 * Expectations that wait for their masters: a helper that reads a flow's first packet (TFTP, SIP) announces before the
 * flow itself is told, which comes some microseconds later.
 */
export const EXPECTATIONS_WAITING_MAX = 64;
/** and how long: their masters may be filtered out. Milliseconds. */
export const EXPECTATIONS_WAIT_MS = 200;
/** The kernel is looked at again this long after it had an expectation that was not granted yet (SIP). Milliseconds. */
export const EXPECTATIONS_LOOK_MS = 250;
/** and not before this many times as long as the last look has taken: 2 % of a core. */
export const EXPECTATIONS_LOOK_PAUSE_SHARE = 50;
/** Expectations said, or looked at, in one flush of the stream: some tenths of a millisecond. */
export const EXPECTATIONS_PER_FLUSH = 256;
/** Nodes of a cluster that are remembered. */
export const PEERS_MAX = 16;
/** Datagram a link may carry; jumbo frames included. Bytes. */
export const FRAME_MAX_BYTES = 9000;
/** Bytes of a node or cluster name. */
export const NAME_MAX_BYTES = 64;
/** What such a name looks like. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** Frames sent and not yet acknowledged by every live receiver. */
export const WINDOW_FRAMES = 1024;
/** Frames kept for resending: at least twice the window. */
export const RING_FRAMES = 2048;
/** Time between heartbeats. Milliseconds, +-10 %. */
export const HEARTBEAT_INTERVAL_MS = 200;
/** Silence after which a peer counts as gone. Milliseconds. */
export const PEER_SILENT_MS = 1000;
/** A stream says MARK at least this often. Milliseconds. */
export const MARK_INTERVAL_MS = 1000;
/** and after its dirty queue ran empty, at most this often. Milliseconds. */
export const MARK_QUIET_INTERVAL_MS = 200;
/** Longest wait for a frame to fill under load, where half of one comes in that time; timers make it 1 ms at most. Milliseconds. */
export const FLUSH_INTERVAL_MS = 0.5;
/**
 * The wait where less comes: at most 10,000 frames a second. With 0.5 ms a creation at 10,000 a second was in the hot
 * backup's kernel after 0.49 ms instead of 0.18, for 37 us of CPU instead of 50 on both nodes. Milliseconds.
 */
export const FLUSH_LEAST_MS = 0.1;
/** A receiver acknowledges after this many frames, or after ACK_INTERVAL_MS. */
export const ACK_FRAMES = 64;
export const ACK_INTERVAL_MS = 10;
/** How long a starting node waits for its peers before its flows become its own. Milliseconds. */
export const JOIN_WAIT_MS = 2000;
/** Repairs of one scope before it is called diverged. */
export const REPAIRS_MAX = 3;
/** Records that failed validation and are kept to look at. */
export const QUARANTINE_MAX = 10;
/** Log lines of one kind in a second; the rest are counted. */
export const LOG_LINES_PER_SECOND = 5;
/** Request a control client may send; the largest, a flow filter, is under 1 KiB. Bytes. */
export const CONTROL_REQUEST_MAX_BYTES = 64 << 10;
/** Reply a control client takes; a status with all its counters is under 100 KiB. Bytes. */
export const CONTROL_REPLY_MAX_BYTES = 4 << 20;
/** Packed records in one reply message: 500 IPv4 flows are 26,000 bytes. Bytes. */
export const CONTROL_BATCH_MAX_BYTES = 256 << 10;
/** Flows in one reply message: beyond this the rate no longer grows. */
export const FLOWS_PER_BATCH = 500;
/** Calls that one control connection may have open at once. */
export const CONTROL_STREAMS_MAX = 32;
/** Time a daemon may take to answer a short call before the CLI calls it stuck. Milliseconds. */
export const CONTROL_CALL_MS = 10_000;
/** Time between two progress messages of a long call. Milliseconds. */
export const PROGRESS_INTERVAL_MS = 100;
/** Time between two looks at how far a resync is: each costs the daemon a `status`. Milliseconds. */
export const RESYNC_LOOK_MS = 1000;
/** Path of a UNIX socket, sun_path less its NUL. Bytes. */
export const SOCKET_PATH_MAX_BYTES = 107;
/** A configuration file; the annotated sample is under 8 KiB. Bytes. */
export const CONFIG_FILE_MAX_BYTES = 1 << 20;
/** Key in a key file. Bytes. */
export const KEY_BYTES = 32;
/** Kinds of log lines whose rate is told apart; beyond it all others share one. */
export const LOG_KINDS_MAX = 500;
/** Connections the metrics listener holds at once: a scraper or two, and a curious operator. */
export const METRICS_CONNECTIONS_MAX = 16;
/** A control connection without a call is closed after this: garbage must not hold descriptors. Milliseconds. */
export const CONTROL_IDLE_MS = 30_000;
/** Pause before an audit that was not clean runs again; doubles up to the longest. Milliseconds. */
export const AUDIT_PAUSE_MIN_MS = 50;
export const AUDIT_PAUSE_MAX_MS = 5000;
/** Differences that a verification keeps to show; the rest are counted. */
export const DIFFERENCES_SHOWN = 20;
/** Suspicions that a verification looks into at a time. */
export const SUSPICIONS_MAX = 1024;
/** How long a promote goes on taking what a source that still lives says. Milliseconds. */
export const SOURCE_LINGER_MS = 1000;
/** How long a former primary must have stepped back before it is asked what it has: a role travels before the flows. Milliseconds. */
export const FORMER_SETTLE_MS = 1000;
/** A former primary that does not answer is asked again after this. Milliseconds. */
export const ASK_AGAIN_MS = 10_000;
/** Times that a former primary's flows are absorbed in one tenure, and the pause after the first; four times that after the next. */
export const ABSORBS_MAX = 3;
export const ABSORB_PAUSE_MS = 1000;
/** The cut of a question that means: since the daemon that is asked began, whoever has listened to it since. */
export const STREAM_BEGIN = 1;
/** How long a restarted primary waits for a proven replica of a source before it goes on with what there is. Milliseconds. */
export const RESUME_PROVE_MS = 10_000;
/** Two live primaries for this long are a split brain; a planned switch is shorter. Milliseconds. */
export const SPLIT_BRAIN_MS = 1000;
/** Tries to create one flow in a commit. */
export const COMMIT_TRIES = 3;
/** Flows that a commit names with the reason why they were rejected; the rest are counted. */
export const REJECTED_SHOWN = 10;
/** How long a commit waits at its end for the event queue to be read to empty. Milliseconds. */
export const COMMIT_SETTLE_MS = 1000;
/**
 * Fixed timeout of a committed GRE flow. The kernel keeps a GRE flow's timeouts in the flow and sets them for flows it
 * sees begin only: a created one would end at its first packet. A fixed timeout cannot be renewed, so it is long. Seconds.
 */
export const GRE_COMMIT_S = 86_400;
/** Flows from which a commit is bulk: the event reader leaves the NEW group, at the price of an audit. */
export const BULK_MIN_FLOWS = 4096;
/** Time between two looks at the sequence adjustment of every flow that may have one: FTP control connections. Milliseconds. */
export const SEQADJ_INTERVAL_MS = 1000;
/** Flows asked for in one such lap, some 3 us each: 1 % of a core. Where there are more they take turns. */
export const SEQADJ_POLLS_PER_LAP = 4096;
/** and in one step of it: a third of a millisecond. */
export const SEQADJ_BATCH = 128;
/** Flows that wait to be asked for because their helper was at work; beyond it the lap finds them. */
export const SEQADJ_HURRY_MAX = 128;
/** A helper announces a connection and then rewrites the line: after this it has. Milliseconds. */
export const SEQADJ_HURRY_DELAY_MS = 2;
/** How long a demote waits for the lap that comes before it. Milliseconds. */
export const SEQADJ_LAP_MAX_MS = 200;
/** How long a demote waits for the stream to have said all. Milliseconds. */
export const DEMOTE_FLUSH_MS = 1000;
/** Incarnations that are no peers and whose keys are kept: as many as candidates. */
export const STRANGER_KEYS_MAX = 32;
/** Time between two statements of the settings that should agree. Milliseconds. */
export const SETTINGS_INTERVAL_MS = 10_000;
/** How long a proven second daemon with this node's name counts as there, after it was last heard. Milliseconds. */
export const NAME_CONFLICT_MS = 10_000;
/** Flows known to be live that a promote creates before it looks at the others: a tenth of a second of them. */
export const LIVE_FLOWS_MAX = 1 << 15;
/** A slice of a background audit that took t is followed by a pause of so many t: 0.25 % of a core. */
export const BACKGROUND_PAUSE_SHARE = 399;
/** Idle classes that wait to be told; an audit's slice changes under 1,000, and the stream takes them when it rests. */
export const IDLE_QUEUE_MAX = 1 << 16;
/** Least time between two readings of this machine's addresses when nothing told that they changed. Milliseconds. */
export const ADDRESSES_INTERVAL_MS = 30_000;
/** Addresses of this machine that are told apart; beyond it flows to the others count as passing through. */
export const OWN_ADDRESSES_MAX = 1 << 16;
/** Links of one node. */
export const LINKS_MAX = 8;
/** Frames of one peer kept because one before them is missing: no more than a window can have sent. */
export const REORDER_FRAMES = 1024;
/** Memory for them, per peer: a window of frames of 1,500 bytes in 2 KiB each. Bytes. */
export const REORDER_MAX_BYTES = 2 << 20;
/** Kept frames applied in one go, when the missing one has come: some tenths of a millisecond of work. */
export const DRAIN_FRAMES = 32;
/** A missing frame is asked for after this, plus a random part of the jitter: one of many receivers speaks first. */
export const NACK_DELAY_MS = 2;
export const NACK_JITTER_MS = 4;
/** More time for frames that only a heartbeat told of: it may have overtaken them. Milliseconds. */
export const NACK_TAIL_GRACE_MS = 10;
/** Pause before a NACK is said again; doubles while nothing comes. Milliseconds. */
export const NACK_RETRY_MIN_MS = 10;
export const NACK_RETRY_MAX_MS = 200;
/** A frame is resent at most once in this time, whoever asks for it. Milliseconds. */
export const RESEND_INTERVAL_MS = 5;
/** Frames resent for one receiver: 5 % of 80,000 a second, or 6 MB/s for one that asks for everything. */
export const RESENDS_PER_SECOND = 4000;
export const RESENDS_BURST = 512;
/** Frames resent in one turn. */
export const RESEND_FRAMES = 32;
/** Time between two GONE. Milliseconds. */
export const GONE_INTERVAL_MS = 10;
/** A receiver whose oldest unapplied frame is older than this leaves the window, though it advances. Milliseconds. */
export const LAG_BEHIND_MS = 3000;
/** A receive buffer is taken to have at least this: less would stop the stream. Bytes. */
export const RECEIVE_BUFFER_MIN_BYTES = 64 << 10;
/** Frames a millisecond, and in one burst, where nothing is acknowledged (modes refresh and best-effort). */
export const UNPACED_FRAMES_PER_MS = 8;
export const UNPACED_FRAMES_BURST = 64;
/** Mode refresh says everything once in this time. Milliseconds. */
export const REFRESH_CYCLE_MS = 60_000;
/** Fine scopes that one side remembers as wanted; beyond them whole segments are. */
export const FINE_WANTED_MAX = 4096;
/** Idle classes told in one flush, and in a second: they wait for everything else. */
export const IDLE_SLOTS = 64;
export const IDLE_PER_SECOND = 2000;
/** Entries of one list of a filter: a classic-BPF program has at most 4,096 instructions. */
export const LIST_ENTRIES_MAX = 128;
/** Keys of one node: the one that is sent with, and those that others still send with. */
export const KEYS_MAX = 8;
/** Datagrams that wait for room in a link's send buffer; a frame's memory is left alone for RING_FRAMES / 2 sends. */
export const SEND_QUEUE_FRAMES = 512;
/** A line of keepalived's FIFO: a name is under 256. Bytes. */
export const VRRP_LINE_MAX_BYTES = 512;
/** Groups, and instances, whose names are remembered to tell that they are several. */
export const VRRP_NAMES_MAX = 16;
/** How long the first line of an instance waits for a sign of a group or of another instance. Milliseconds. */
export const VRRP_ALONE_MS = 50;
/** Pause before a role change that failed is tried again. Milliseconds. */
export const FOLLOW_RETRY_MS = 200;
/** Time between two looks whether the FIFO is still the same file, and whether somebody holds it. Milliseconds. */
export const FIFO_LOOK_MS = 200;
/** One read of the FIFO, and reads in one turn: together what a pipe holds. Bytes. */
export const FIFO_READ_BYTES = 8192;
export const FIFO_READS = 8;
/**
 * Longest time that one promote keeps the gate up: TCP openings are repeated after 1, 3 and 7 seconds, so the third
 * passes in any case. Milliseconds; the kernel ends it by itself too.
 */
export const GATE_MAX_MS = 5000;
/** A replica is ready when it was proven for so long, and no longer so when it was out of it for so long. Milliseconds. */
export const READY_PROVEN_MS = 5000;
/** A hot kernel that is further behind its replica is not ready. Milliseconds. */
export const HOT_LAG_MAX_MS = 1000;
/** A node that has started and is not ready for so long says why in the log. Milliseconds. */
export const READY_SAID_AFTER_MS = 20_000;
/** Least time between two looks whether this node is ready: one comes with a tick. Milliseconds. */
export const READY_LOOK_MS = 300;
/** Time between two checks of what a takeover needs of this kernel. Milliseconds. */
export const CHECK_INTERVAL_MS = 60_000;
/** Time between two steps of such a check, and slots looked at in one: a million flows take five seconds of 3 %. */
export const CHECK_STEP_MS = 10;
export const NEEDS_SLOTS = 2048;
/** Names of helpers that a check asks the kernel for; the kernel itself has a dozen. */
export const HELPERS_MAX = 16;
/** Time between two looks whether the track file still says what was written. Milliseconds. */
export const TRACK_FILE_LOOK_MS = 1000;
/** Timeout that hot standby gives held flows at the least: the kernel that holds them sees no packet of them. Seconds. */
export const HELD_TIMEOUT_S = 900;
/** and what is left of it when it is given again: at a promote every held flow has some minutes left. Seconds. */
export const HELD_RENEW_S = 400;
/** Held flows whose timeout is given again in a second: 2 to 3 % of a core for the whole of a large table. */
export const HELD_RENEWALS_PER_SECOND = 10_000;
/** A held flow that ended here by itself comes back at most once in this time. Seconds. */
export const REINJECT_PAUSE_S = 10;
/** and all together at most so many a second: a kernel that pushes flows out must not be fought with. */
export const REINJECTS_PER_SECOND = 1000;
/** A flow that the kernel refused is tried again after this, or when its owner speaks of it. Seconds. */
export const REFUSED_PAUSE_S = 60;
/** Hot standby looks at every slot once in this time. Milliseconds. */
export const HOT_WALK_MS = 10_000;
/** Hot standby creates nothing for this time after the kernel's table was found full. Milliseconds. */
export const KERNEL_FULL_PAUSE_MS = 5000;
/** Time between two looks at the room in the kernel's table. Milliseconds. */
export const KERNEL_CHECK_MS = 1000;
/** Unbroken time as a backup of a proven primary, after which what is held without need goes. Milliseconds. */
export const PURGE_AFTER_DEFAULT_MS = 60_000;
/** A purge looks at timers twice with this in between: timers are told in seconds. Milliseconds. */
export const PURGE_LOOK_MS = 5000;
/** A slice of a purge that took t is followed by a pause of so many t: a fifth of a core. */
export const PURGE_REST_SHARE = 4;
/** A replica that is not proven for this long breaks the time; less is a repair. Milliseconds. */
export const PURGE_SUSPECT_MS = 5000;
/** After a promote of a hot standby: a slice that gives flows their real timeouts is followed by so many of rest. */
export const REAL_TIMEOUTS_REST_SHARE = 19;
/**
 * How long a flow whose translated address left this node is held back, seconds: by who stays primary, for keepalived
 * says BACKUP some milliseconds after it removed the address; and by a backup, until the new primary has committed.
 */
export const AWAY_PRIMARY_S = 10;
export const AWAY_BACKUP_S = 60;
/** How long an address that is gone counts as one that left. Milliseconds. */
export const ADDRESS_LEFT_MS = 10_000;
/** One line of a file of conntrack commands: the longest, IPv6 with every option, is under 1 KiB. Characters. */
export const COMMAND_LINE_MAX_BYTES = 8192;
/** Such a file: two million lines of "-o save". It is read wholly, to be checked before the first line is carried out. */
export const COMMAND_FILE_MAX_BYTES = 512 << 20;
/** Processes whose names -E remembers between two looks. */
export const PROCESS_NAMES_MAX = 256;
/** An expression of --where, and of a control client: a hundred conditions are some thousand. Characters. */
export const WHERE_MAX_CHARACTERS = 8192;
/** Levels of brackets and "not" in one, each a call deep for every flow. */
export const WHERE_DEPTH_MAX = 64;
/** Values of one set in it. */
export const WHERE_SET_MAX = 1024;
/** Flows that --top keeps: room for the longest record each is 100 MB. */
export const TOP_FLOWS_MAX = 100_000;
/** Differences between two tables that a comparison names; the rest are counted. */
export const DIFFERENCES_NAMED_MAX = 10_000;
