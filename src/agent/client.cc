#include "agent/client.h"

#include <fmt/format.h>

namespace sollol::agent {
namespace {

std::unexpected<Error> fail(ErrorKind kind, const Address& at, std::string_view why) {
  return std::unexpected(
      Error{kind, Origin::node, Retry::later, fmt::format("agent at {}: {}", to_string(at), why)});
}

}  // namespace

net::Task<Result<AgentReport>> fetch_report(net::Connector& connector, net::HttpScratch& scratch,
                                            ReportRequest request) {
  auto connecting = connector.connect(request.at, request.deadline);
  auto stream = co_await std::move(connecting);
  if (!stream) co_return std::unexpected(stream.error());
  net::SimpleRequest asked{.target = std::string(report_path),
                           .host_field = to_string(request.at),
                           .extra_fields = "Connection: close\r\n",
                           .body = {},
                           .reply_max = request.limits.bytes_max};
  if (!request.token.empty())
    asked.extra_fields += fmt::format("Authorization: Bearer {}\r\n", request.token);
  auto calling = net::call_once(**stream, scratch, std::move(asked), request.deadline);
  const auto reply = co_await std::move(calling);
  if (!reply) co_return std::unexpected(reply.error());
  switch (reply->reply.status) {
    case 200:
      co_return parse_report(reply->reply.body, request.limits);
    case 401:
    case 403:
      co_return fail(ErrorKind::untrusted, request.at,
                     "it does not take the token; give both sides the same");
    case 404:
      co_return fail(ErrorKind::not_found, request.at, "something else listens there");
    default:
      co_return fail(ErrorKind::bad_reply, request.at,
                     fmt::format("answered {}", reply->reply.status));
  }
}

}  // namespace sollol::agent
