#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/stream_watch.h"
#include "base/result.h"
#include "cluster/health.h"
#include "cluster/snapshot.h"
#include "gateway/answer.h"
#include "gateway/stall.h"
#include "gateway/upstream_pool.h"
#include "net/http_call.h"

namespace sollol::gateway {

class Race;
class Resume;
class Slot;

/// A node that just sent something is not abandoned on a probe's word.
inline constexpr Duration alive_after_byte = std::chrono::seconds(2);

/// Errors are JSON, plain text for a path that this version does not know, or have no body.
/// Anything else comes from another program, and is nothing that the client's API could say.
bool is_refusal_of_ollama(std::string_view content_type);

/// How one try at one node ended.
struct Verdict {
  enum class Kind : std::uint8_t {
    relayed,      // the client has the node's whole answer
    refused,      // the node answered with an error that has not been relayed: `status`, `body`
    failed,       // nothing has reached the client: `error`
    cut,          // the answer broke off after some of it had reached the client: `error`
    client_left,  // nobody to answer
    beaten,       // another attempt at the same request answered first, and this was given up
  };
  Kind kind = Kind::failed;
  int status = 0;
  std::string content_type;
  std::string body;
  std::optional<Error> error;
  // Of a cut answer: what an error record has to follow. See Answer::fail.
  bool mid_record = false;
  bool inside_chunk = false;
  bool said_so = false;    // `error` holds words of the node, not fit for logs: Connection::for_log
  Duration streamed{};     // from the first token to the last
  Duration longest_gap{};  // between two tokens
  bool of_load = false;    // the model was not loaded; the request has not been sent
  api::Usage usage;
  Duration took{};       // from sending the request
  TimePoint answered{};  // when the last of a relayed answer came
  cluster::RequestOutcome health = cluster::RequestOutcome::neutral;
};

/// One request sent to one node, and its answer relayed to the client as it comes.
///
/// The request head is written anew, the body goes as it is. The answer's payload passes as raw
/// bytes: a stream piece by piece as it arrives, anything else in one go once it is complete (up to
/// `whole_max`), so that a node that dies inside a short answer costs nothing but another try.
/// Nothing reaches the client before the first byte of payload.
class Attempt final : net::PieceSink {
 public:
  static constexpr std::size_t whole_max = 1 << 20;
  static constexpr std::size_t refusal_max = 64 * 1024;

  struct Plan {
    std::string_view body;
    api::StreamForm form = api::StreamForm::opaque;
    enum class Refusals : std::uint8_t { hold, relay };
    Refusals refusals =
        Refusals::hold;  // hold: error answers come back in the verdict, for the caller to judge
    enum class Payload : std::uint8_t { any, json };
    Payload payload =
        Payload::any;  // json: a success that is not JSON (or a stream of it) is the node's fault
    enum class Silence : std::uint8_t { watched, allowed };
    Silence silence = Silence::watched;  // between two tokens
    Slot* slot = nullptr;      // released once the node has answered; null: the caller's affair
    Resume* resume = nullptr;  // what keeps the stream alive beyond this node; null: nothing does
    Duration stall_limit{};    // longest silence between two tokens; zero: none
    Race* race = nullptr;      // with another attempt at the same request; null: there is none
  };

  Attempt(Connection& client, Answer& answer, const cluster::Node& node);
  ~Attempt();
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  net::Task<Verdict> run(Plan plan);
  /// Ends what it waits for at its node.
  void cancel() {
    if (stream_) stream_->cancel();
  }
  /// The node has begun to answer.
  bool answering() const noexcept { return last_byte_ != TimePoint{}; }

 private:
  // attempt.cc: towards the node
  net::Task<Result<void>> open();
  net::Task<Result<void>> exchange_heads(std::string_view head, std::string_view body);
  net::Task<Verdict> collect_refusal();
  std::string upstream_head(std::size_t body_size) const;
  void take_response_head(const http::ResponseHead& head);
  TimePoint response_deadline() const;
  TimePoint body_deadline() const;
  Verdict failure(Error error);
  Verdict beaten();
  bool is_first() const;
  void cancel_on_leave(net::Stream* stream) noexcept;

  // relay.cc: back to the client
  net::Task<Verdict> relay_whole();
  net::Task<Verdict> relay_stream(std::string first);
  void expect_pieces();
  bool take(std::string_view piece) override;
  std::optional<Error> forward(std::string_view piece);
  std::optional<Error> forward_spliced(std::string_view piece);
  std::optional<Error> forward_payload(std::string_view payload);
  std::optional<Error> problem_in_records() const;
  net::Task<void> flush_client();
  void heard();
  bool flows() const;
  bool complete() const;
  bool all_said() const;
  Answer::End next_end();
  std::optional<Error> beyond_bounds() const;
  std::optional<Error> check_start(std::string_view payload) const;
  std::optional<Error> check_whole(std::string_view body, bool surplus) const;
  Verdict finish_relayed();
  Verdict finish_cut(Error problem);
  bool settle_records();

  Connection& client_;
  Answer& answer_;
  Worker& worker_;
  const cluster::Node& node_;
  std::size_t record_bytes_ = 0;  // of the line under way
  Plan plan_;
  std::unique_ptr<net::Stream> stream_;
  std::optional<net::HttpCall> call_;
  std::optional<UpstreamPool::InUse> in_use_;
  bool reused_ = false;
  bool abandoned_ = false;
  TimePoint last_byte_{};
  Answer::Head head_;
  std::string content_type_;
  api::StreamWatcher watcher_{api::StreamForm::opaque};
  std::optional<Error> problem_;  // with the stream that is being relayed
  std::string pending_;           // payload of an unfinished record, where the framing changes
  std::uint64_t written_ = 0;     // payload passed on there
  StallTimer stall_;
  TimePoint first_token_{};
  Duration longest_gap_{};
};

}  // namespace sollol::gateway
