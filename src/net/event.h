#pragma once

#include <boost/asio/post.hpp>
#include <functional>
#include <utility>

#include "net/task.h"

namespace sollol::net {

/// Lets one coroutine wait until another on the same thread says that something happened. A `set`
/// without a waiter is remembered.
class Event {
 public:
  void set() {
    if (resume_) {
      // Through the executor: the setter goes on first.
      asio::post(executor_, std::exchange(resume_, nullptr));
    } else {
      pending_ = true;
    }
  }
  Task<> wait() {
    if (std::exchange(pending_, false)) co_return;
    auto start = [this](auto handler) {
      resume_ = [handler = std::move(handler)]() mutable { std::move(handler)(); };
    };
    auto waiting = asio::async_initiate<decltype(use_task), void()>(start, use_task);
    co_await std::move(waiting);
  }

  explicit Event(asio::io_context& context) : executor_(context.get_executor()) {}

 private:
  asio::io_context::executor_type executor_;
  std::move_only_function<void()> resume_;
  bool pending_ = false;
};

}  // namespace sollol::net
