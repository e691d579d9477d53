#include "gateway/answer.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "api/heartbeat.h"
#include "gateway/worker.h"
#include "http/append.h"

namespace sollol::gateway {

void note_first_byte(Connection& client) {
  Outcome& outcome = client.request().outcome;
  if (outcome.first_byte.count() == 0)
    outcome.first_byte = client.worker().scheduler().now() - client.request().arrived;
}

void Answer::offer(Head head, const http::Framing& body, api::StreamForm form, Passing passing) {
  const bool raw = body.kind == http::Framing::Kind::chunked && passing == Passing::raw;
  carry_.clear();
  inside_chunk_ = passed_part_ = false;
  if (begun_) {  // by a heartbeat: head and framing stand
    if (chunked()) framing_ = raw ? Framing::raw_chunks : Framing::chunks;
    return;
  }
  head_ = std::move(head);
  form_ = form;
  if (body.kind == http::Framing::Kind::sized && form == api::StreamForm::opaque) {
    framing_ = Framing::sized;
    http::append(head_.fields, "Content-Length: ", body.length, "\r\n");
  } else if (client_.request().minor_version == 0) {
    framing_ = Framing::until_close;
    client_.close_after();
  } else {
    framing_ = raw ? Framing::raw_chunks : Framing::chunks;
    head_.fields += "Transfer-Encoding: chunked\r\n";
  }
}

void Answer::pass_chunks(std::string_view raw, const http::BodyWatcher& body, End end) {
  std::string joined;
  const std::string_view settled = take_settled(raw, body, joined);
  if (settled.empty() && end == End::more) return;
  write_out(settled, end);
}

/// The whole chunks among what is held and `piece`; the rest is held. A chunk larger than
/// `carry_max` is let through in parts: should the node die inside it, only a reset can tell the
/// client.
std::string_view Answer::take_settled(std::string_view piece, const http::BodyWatcher& body,
                                      std::string& joined) {
  if (!carry_.empty()) {
    joined = std::exchange(carry_, {});
    joined.append(piece);
    piece = joined;
  }
  std::size_t open = std::min<std::uint64_t>(body.unsettled(), piece.size());
  if (body.done()) return piece.substr(0, piece.size() - open);
  inside_chunk_ = open > carry_max;
  if (inside_chunk_) {
    open = 0;
    passed_part_ = true;
  }
  carry_.assign(piece.substr(piece.size() - open));
  return piece.substr(0, piece.size() - open);
}

void Answer::write(std::string_view payload, End end) {
  if (chunked() && !payload.empty()) {
    const std::string chunk = http::chunk_of(payload);
    write_out(chunk, end);
  } else {
    write_out(payload, end);
  }
}

void Answer::write_out(std::string_view bytes, End end) {
  const std::string_view ending =
      end == End::last && chunked() ? std::string_view(last_chunk_) : std::string_view{};
  if (end == End::last) client_.answer_ends();
  if (!committed_) return commit(bytes, ending);
  if (bytes.empty() && ending.empty()) return;
  if (heartbeat_.armed()) heartbeat_.disarm();  // another node goes on
  const std::array<std::string_view, 2> slices{bytes, ending};
  client_.write(std::span(slices).first(ending.empty() ? 1 : 2));
}

/// The first payload: with the head, unless heartbeats have brought it.
void Answer::commit(std::string_view bytes, std::string_view ending) {
  const bool has_head = std::exchange(begun_, true);
  committed_ = true;
  heartbeat_.disarm();
  note_first_byte(client_);
  const std::string head =
      has_head ? std::string() : client_.head_text(head_.status, head_.reason, head_.fields);
  const std::array<std::string_view, 3> slices{head, bytes, ending};
  client_.write(slices);
  client_.release_body();  // no retry from here on
}

void Answer::write_whole(Head head, std::string_view body) {
  if (begun_) return write(body, End::last);
  begun_ = committed_ = true;
  heartbeat_.disarm();
  note_first_byte(client_);
  const bool has_length = head.status != 204 && head.status != 304 && !client_.request().is_head();
  if (has_length) http::append(head.fields, "Content-Length: ", body.size(), "\r\n");
  const std::string text = client_.head_text(head.status, head.reason, head.fields);
  const std::array<std::string_view, 2> slices{text, body};
  client_.answer_ends();
  client_.write(slices);
}

void Answer::keep_waiting(Duration interval) {
  if (interval.count() == 0 || asked_form_ == api::StreamForm::opaque ||
      client_.request().minor_version == 0) {
    return;
  }
  heartbeat_.interval = interval;
  client_.worker().scheduler().arm(heartbeat_, client_.worker().scheduler().now() + interval);
}

void Answer::beat() {
  Worker& worker = client_.worker();
  const Request& request = client_.request();
  if (client_.client_gone()) return;
  const std::string record = api::heartbeat_record(request.route.operation, request.outcome.model,
                                                   worker.scheduler().wall_now());
  if (record.empty()) return;
  worker.scheduler().arm(heartbeat_, worker.scheduler().now() + heartbeat_.interval);
  if (client_.holds_output()) return;  // it has not even taken the last one
  worker.metrics().heartbeats.add();
  std::string head;
  if (!std::exchange(begun_, true)) {
    form_ = asked_form_;
    framing_ = Framing::chunks;
    head = client_.head_text(
        200, http::reason_phrase(200),
        fmt::format("Date: {}\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n",
                    worker.http_date(), api::stream_content_type(asked_form_)));
  }
  const std::string chunk = http::chunk_of(record);
  const std::array<std::string_view, 2> slices{head, chunk};
  client_.write(slices);
}

net::Task<void> Answer::refuse(int status, std::string_view content_type, std::string body,
                               std::string fields) {
  heartbeat_.disarm();
  if (!begun_) {
    auto answering = client_.answer(status, content_type, std::move(body), std::move(fields));
    co_await std::move(answering);
    co_return;
  }
  const std::string record = api::refusal_record(asked_form_, status, body);
  write(record, End::last);
  auto flushing = client_.flush();
  co_await std::move(flushing);
}

bool Answer::settle(std::uint64_t fed, std::uint64_t whole, std::string_view missing_end) {
  const std::string held = std::exchange(carry_, {});
  if (passed_part_) return false;
  std::string payload;
  if (passes_raw()) {
    http::BodyWatcher chunks(http::Framing{.kind = http::Framing::Kind::chunked});
    chunks.feed(held, [&payload](std::string_view run) { payload.append(run); });
  }
  const std::uint64_t sent = fed - std::min<std::uint64_t>(fed, payload.size());
  if (whole < sent) return false;
  payload.resize(std::min<std::uint64_t>(payload.size(), whole - sent));
  payload += missing_end;
  if (!payload.empty()) write(payload);
  return true;
}

void Answer::fail(std::string_view message, bool mid_record, bool inside_chunk) {
  const std::string record = api::error_record(form_, message, mid_record);
  if (record.empty() || inside_chunk || framing_ == Framing::sized) {
    client_.abort();
    return;
  }
  carry_.clear();
  write(record, End::last);
}

}  // namespace sollol::gateway
