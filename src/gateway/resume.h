#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/continuation.h"
#include "gateway/answer.h"
#include "gateway/attempt.h"
#include "gateway/placement.h"

namespace sollol::gateway {

/// What keeps a stream alive beyond its node: the request, what has been said of the answer, and
/// what another node is to be asked.
///
/// Kept only where it could be of use: an answer whose API can be continued, of a model that
/// another node has with the same digest, unless the configuration or the request turns it off.
/// Costs then a copy of the request's body, once the answer begins, and one of its text; both
/// bounded by `stream.resume_body_bytes` and `stream.resume_text_bytes`. One worker thread; within
/// the request.
class Resume {
 public:
  enum class Next : std::uint8_t {
    attempt,   // `plan` and `work` ask another node for the rest
    finished,  // nothing was left to ask for: the answer has been ended
    declined,  // the client has to be told
  };

  Resume(Connection& client, Answer& answer, api::StreamForm form);

  /// An attempt at this place begins.
  void begins(const Work& work, const Slot& slot, TimePoint now);
  /// What the records of the attempt are to be shown to. Null: nothing is kept.
  api::Transcript* transcript() noexcept { return kept_ ? &transcript_ : nullptr; }
  /// The answer begins: copies the request's body, whose memory is about to go.
  void keep(std::string_view body);
  /// What the records of a later attempt pass through. Null: the first one's go as they come.
  api::Splice* splice() noexcept { return splice_ ? &*splice_ : nullptr; }
  /// A later attempt has given the client something.
  void went_on();

  /// The answer broke off: says what is to be done. The reason for declining goes to the log and
  /// the metrics.
  Next next(const Verdict& verdict, const Slot& slot, Work& work, Attempt::Plan& plan);
  /// No place was found for the attempt that `next` asked for.
  void no_place();
  /// The totals of the whole, for the access log.
  void account();

 private:
  std::expected<api::Continuation, api::Obstacle> continuation(const Verdict& verdict) const;
  Next decline(api::Obstacle obstacle);
  void finish();

  Connection& client_;
  Answer& answer_;
  api::StreamForm form_;
  api::Obstacle obstacle_ = api::Obstacle::none;  // known from the start
  bool kept_ = false;
  bool body_kept_ = false;
  std::string body_;  // as it came
  std::string next_body_;
  std::string digest_;  // of the model that began
  std::string broken_;  // the node that broke off last, and how
  api::Transcript transcript_;
  api::Contribution before_;
  std::optional<TimePoint> first_sent_;
  std::optional<api::Splice> splice_;
  std::uint64_t given_ = 0;  // tokens before the last attempt
  std::uint32_t resumes_ = 0;
};

}  // namespace sollol::gateway
