#include "gateway/blobs.h"

#include <fmt/format.h>

#include <algorithm>

#include "gateway/attempt.h"
#include "gateway/fanout.h"
#include "gateway/inference.h"
#include "gateway/node_call.h"

namespace sollol::gateway {

namespace {

constexpr std::size_t reply_max = 64 * 1024;

/// One node's part in an upload.
struct Upload {
  std::unique_ptr<NodeCall> call;
  std::optional<std::string> failure;
  int status = 0;
  std::string body;
  bool open() const { return !failure; }
};

/// Framing of the upload towards a node: the client's own length, or chunks.
std::string framing_field(const http::Framing& framing) {
  return framing.kind == http::Framing::Kind::chunked
             ? std::string("Transfer-Encoding: chunked\r\n")
             : fmt::format("Content-Length: {}\r\n", framing.length);
}

net::Task<void> open_uploads(Connection& client, const Targets& targets,
                             std::vector<Upload>& uploads) {
  const Request& request = client.request();
  for (const cluster::Node* node : targets.nodes) {
    Upload& upload = uploads.emplace_back();
    upload.call = std::make_unique<NodeCall>(client.worker(), *node);
    auto sending = upload.call->send(request.method, request.target,
                                     request.pass_fields + framing_field(request.framing), {});
    const Result<void> sent = co_await std::move(sending);
    if (!sent) upload.failure = sent.error().detail;
  }
}

/// Passes the body on. A node that stops taking it may have answered already (it has the blob):
/// that is read later.
net::Task<Result<void>> pass_body(Connection& client, std::vector<Upload>& uploads) {
  const bool chunked = client.request().framing.kind == http::Framing::Kind::chunked;
  while (true) {
    auto reading = client.read_body_piece();
    const Result<std::string_view> piece = co_await std::move(reading);
    if (!piece) co_return std::unexpected(piece.error());
    const std::string bytes = !chunked         ? std::string(*piece)
                              : piece->empty() ? std::string(http::last_chunk)
                                               : http::chunk_of(*piece);
    const bool last = piece->empty();
    for (Upload& upload : uploads) {
      if (!upload.open() || bytes.empty()) continue;
      auto writing = upload.call->write(bytes);
      const net::Wake wake = co_await std::move(writing);
      if (wake != net::Wake::ready) upload.failure = "stopped taking the upload";
    }
    if (last) co_return Result<void>{};
  }
}

net::Task<void> collect_answers(std::vector<Upload>& uploads) {
  for (Upload& upload : uploads) {
    // Also after a broken write: a node that has the blob answers early and closes.
    if (upload.failure && *upload.failure != "stopped taking the upload") continue;
    auto receiving = upload.call->receive_head("POST");
    const Result<const http::ResponseHead*> head = co_await std::move(receiving);
    if (!head) {
      if (!upload.failure) upload.failure = head.error().detail;
      continue;
    }
    upload.status = (*head)->status;
    upload.failure.reset();
    if (http::is_redirect(upload.status)) {
      upload.failure = "answered with a redirect";
      continue;
    }
    const std::string type((*head)->fields.find(http::FieldId::content_type));
    if (upload.status >= 400 && !is_refusal_of_ollama(type)) {
      upload.failure = fmt::format("answered {} with content type '{}'", upload.status, type);
      continue;
    }
    auto reading = upload.call->receive_body(reply_max);
    Result<std::string> body = co_await std::move(reading);
    if (body) upload.body = std::move(*body);
  }
}

net::Task<void> answer_uploads(Connection& client, const std::vector<Upload>& uploads) {
  std::string failures;
  int status = 200;
  for (const Upload& upload : uploads) {
    if (upload.failure) {
      failures += fmt::format("{}{}: {}", failures.empty() ? "" : "; ",
                              upload.call->node().info.name, *upload.failure);
    } else if (upload.status >= 400) {
      // The content is at fault, so any node's word will do.
      auto answering = client.answer(upload.status, api::json_content_type, upload.body);
      co_await std::move(answering);
      co_return;
    } else {
      status = std::max(status, upload.status);
    }
  }
  if (!failures.empty()) {
    client.request().outcome.problem = client.for_log(failures);
    api::Reply reply = api::error_reply(api::Dialect::native, 502,
                                        "the blob did not reach every node: " + failures);
    auto answering = client.answer(std::move(reply));
    co_await std::move(answering);
    co_return;
  }
  auto answering = client.answer(status, {}, {});
  co_await std::move(answering);
}

void name_nodes(Request& request, const Targets& targets) {
  for (const cluster::Node* node : targets.nodes) {
    request.outcome.node += request.outcome.node.empty() ? node->info.name : "," + node->info.name;
  }
}

}  // namespace

net::Task<void> serve_blob_upload(Connection& client) {
  Targets targets = targets_of(client);
  if (targets.answer) {
    auto answering = answer_no_target(client, std::move(*targets.answer));
    co_await std::move(answering);
    co_return;
  }
  name_nodes(client.request(), targets);
  std::vector<Upload> uploads;
  auto opening = open_uploads(client, targets, uploads);
  co_await std::move(opening);
  auto passing = pass_body(client, uploads);
  const Result<void> passed = co_await std::move(passing);
  if (!passed) {
    auto refusing = answer_body_error(client, passed.error());
    co_await std::move(refusing);
    co_return;
  }
  auto collecting = collect_answers(uploads);
  co_await std::move(collecting);
  auto answering = answer_uploads(client, uploads);
  co_await std::move(answering);
}

net::Task<void> serve_blob_check(Connection& client) {
  Targets targets = targets_of(client);
  if (targets.answer) {
    auto answering = answer_no_target(client, std::move(*targets.answer));
    co_await std::move(answering);
    co_return;
  }
  name_nodes(client.request(), targets);
  const Request& request = client.request();
  int status = 200;
  std::string content_type;
  for (const cluster::Node* node : targets.nodes) {
    NodeCall call(client.worker(), *node);
    auto sending = call.send(request.method, request.target, request.pass_fields, {});
    const Result<void> sent = co_await std::move(sending);
    if (!sent) {
      status = 502;
      break;
    }
    auto receiving = call.receive_head(request.method);
    const Result<const http::ResponseHead*> head = co_await std::move(receiving);
    status = head && !http::is_redirect((*head)->status) ? (*head)->status : 502;
    if (head) content_type = (*head)->fields.find(http::FieldId::content_type);
    if (status != 200) break;
  }
  auto answering = client.answer(status, content_type, {});
  co_await std::move(answering);
}

}  // namespace sollol::gateway
