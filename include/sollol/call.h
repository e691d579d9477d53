#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sollol/failure.h"

namespace sollol {

/// One request of Ollama's API, OpenAI's, Anthropic's or the gateway's own.
struct CallRequest {
  std::string method = "POST";
  std::string target;                                            // "/api/chat"
  std::string body = {};                                         // JSON; empty: none
  std::vector<std::pair<std::string, std::string>> fields = {};  // of the head, beside the usual
};

/// A whole answer.
struct CallAnswer {
  int status = 0;
  std::string node;  // that gave it; "gateway" where none did
  std::string body;
};

/// A request under way. Destroying it before its end abandons it: the node stops working for it.
///
/// It never blocks but in `wait` and `finish`. For loops of the caller's own, `descriptor` can be
/// watched. One thread at a time.
class Call {
 public:
  enum class State : std::uint8_t {
    sending,    // the request is not out yet
    waiting,    // for the answer's head
    answering,  // the head is here, the body comes
    ended       // the answer is whole
  };

  Call(Call&&) noexcept;
  Call& operator=(Call&&) noexcept;
  ~Call();

  /// Goes on as far as it can without waiting. Failure: the connection broke, or what came is no
  /// answer; a broken answer never looks whole.
  std::expected<State, Failure> advance();
  /// Waits for at most so long until `advance` can go on; false: not yet, or a signal came.
  bool wait(double seconds) const;
  /// To be watched for reading, and for writing while `sends`. Changes when a kept connection turns
  /// out to be closed, which only `advance` finds.
  int descriptor() const;
  bool sends() const;

  State state() const;
  /// Of the answer's head; 0 and empty before it is here.
  int status() const;
  std::string field(std::string_view name) const;
  /// What has come of the body since the last time.
  std::string take();

  /// Waits for the whole answer.
  std::expected<CallAnswer, Failure> finish();

  struct Impl;
  explicit Call(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// Begins a call; a pool's or a gateway client's.
using CallStarter = std::function<std::expected<Call, Failure>(CallRequest)>;

/// Runs many calls on the calling thread, so many at once. Destroying it abandons what runs.
class CallBatch {
 public:
  CallBatch(CallStarter start, std::size_t width);
  CallBatch(CallBatch&&) = default;
  CallBatch& operator=(CallBatch&&) = default;

  /// Whether another call would begin at once.
  bool has_room() const { return running_.size() + waiting_.size() < width_; }
  void add(std::uint64_t tag, CallRequest request);
  bool empty() const { return running_.empty() && waiting_.empty() && done_.empty(); }
  /// Forgets the call of this tag, whatever became of it: the node stops working for it.
  void abandon(std::uint64_t tag);

  struct Done {
    std::uint64_t tag = 0;  // as given to `add`
    std::expected<CallAnswer, Failure> answer;
  };
  /// One that has ended, in whatever order. Waits once, for at most so long: none may be there yet.
  std::optional<Done> next(double seconds);

 private:
  struct Running {
    std::uint64_t tag = 0;
    Call call;
    std::string body = {};
    bool ended = false;
  };
  void fill();
  void settle(Running& one, std::expected<Call::State, Failure> state);
  void wait(double seconds);

  CallStarter start_;
  std::size_t width_;
  std::deque<std::pair<std::uint64_t, CallRequest>> waiting_;
  std::vector<Running> running_;
  std::deque<Done> done_;
};

}  // namespace sollol
