/**
 * Maximum open streams of a connection (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113, 6.5.2): at first, and as soon as a
 * service has called on it. One read may begin all of them, and Node needs 10 to 25 us for each. Clients hold further
 * calls back by themselves. 100 is also the number that clients assume before they have read the SETTINGS, so a lower
 * one would refuse calls of honest clients.
 */
const STREAMS_AT_FIRST = 100;
export const STREAMS_OF_SERVICES = 1000;

/**
 * Bounds on what one HTTP/2 client can make the service hold or do. A reset stream costs nearly as much as a call. A
 * client may reset 200 streams at once, as a busy client does when a deadline comes, and then 100 a second.
 */
export const HTTP2_OPTIONS = {
  settings: { maxConcurrentStreams: STREAMS_AT_FIRST, maxHeaderListSize: 16 * 1024, enablePush: false },
  maxHeaderListPairs: 64,
  maxSettings: 32,
  maxSessionMemory: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxOutstandingPings: 4,
  streamResetBurst: 200,
  streamResetRate: 100,
};
