#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "net.h"
#include "watch.h"

namespace sollol::bench {

/// Asks for whole answers over kept-alive connections, each asking again as soon as it has its
/// answer; or, with a pace, whenever a request is due, and latency counts from that time on,
/// whether a connection was free or not.
struct RequestLoad {
  Endpoint target;
  std::string fields;  // further lines of the head, each with CRLF
  std::size_t connections = 48;
  double per_s = 0;  // the pace of all together; 0: none
  std::chrono::duration<double> warmup{0.5};
  std::chrono::duration<double> measured{3};
  std::vector<pid_t> watched;  // whose use is measured over the same time
};

/// Opens streams at a steady pace, measures while all of them run, then sees each of them to its
/// end.
struct StreamLoad {
  Endpoint target;
  std::string fields;
  std::size_t streams = 1000;
  double tokens_per_s = 50;                // of each stream
  double opened_per_s = 4000;              // pace of opening
  std::chrono::duration<double> slack{3};  // how much longer than its pace opening may take
  std::chrono::duration<double> warmup{1};
  std::chrono::duration<double> measured{5};
  std::vector<pid_t> watched;
};

/// Percentiles in microseconds.
struct Spread {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
  static Spread of(std::vector<std::int64_t>& samples_ns);
};

struct RequestReport {
  std::uint64_t requests = 0;  // answered rightly within the measured time
  std::uint64_t failed = 0;    // ever: refused, cut off, wrong status, wrong body
  double seconds = 0;
  Spread latency;
  ProcessUse used;  // by the watched processes within the measured time
};

struct StreamReport {
  std::size_t opened = 0;         // streams whose first token came
  std::size_t ended_rightly = 0;  // every token in order, the end record, the end of the body
  std::size_t lost = 0;           // all others
  std::string first_loss;         // why the first of them was lost
  std::size_t open_at_once =
      0;                     // throughout the measured time; unless it is all, the run says little
  std::uint64_t tokens = 0;  // within the measured time, as are the next five
  std::uint64_t reads = 0;   // that brought them: where far fewer, tokens came late and together
  double seconds = 0;
  Spread to_socket;  // delay of a token from the origin's send to the client's socket: the path's
  Spread to_client;  // and to when the client had read it: its own wait for a CPU is in there too
  ProcessUse used;
  ProcessUse held;  // memory, when the measured time ended
};

RequestReport run_requests(const RequestLoad& load);
StreamReport run_streams(const StreamLoad& load);

}  // namespace sollol::bench
