#include "api/routes.h"

#include <gtest/gtest.h>

#include <set>

namespace sollol::api {
namespace {

struct RouteCase {
  const char* method;
  const char* path;
  Operation operation;
  RouteClass route_class;
  Dialect dialect = Dialect::native;
  const char* parameter = "";
};

using Op = Operation;
using Is = RouteClass;

const RouteCase route_table[] = {
    {"GET", "/", Op::root, Is::local},
    {"HEAD", "/", Op::root, Is::local},
    {"GET", "/api/version", Op::version, Is::local},
    {"HEAD", "/api/version", Op::version, Is::local},
    {"GET", "/api/status", Op::status, Is::cloud},
    {"GET", "/api/tags", Op::tags, Is::aggregate},
    {"HEAD", "/api/tags", Op::tags, Is::aggregate},
    {"GET", "/api/ps", Op::ps, Is::aggregate},
    {"POST", "/api/show", Op::show, Is::aggregate},
    {"POST", "/api/generate", Op::generate, Is::inference},
    {"POST", "/api/chat", Op::chat, Is::inference},
    {"POST", "/api/embed", Op::embed, Is::inference},
    {"POST", "/api/embeddings", Op::embeddings, Is::inference},
    {"POST", "/api/pull", Op::pull, Is::node_state},
    {"POST", "/api/push", Op::push, Is::node_state},
    {"POST", "/api/create", Op::create, Is::node_state},
    {"POST", "/api/copy", Op::copy, Is::node_state},
    {"DELETE", "/api/delete", Op::remove, Is::node_state},
    {"HEAD", "/api/blobs/sha256:ab", Op::blob_check, Is::node_state, Dialect::native, "sha256:ab"},
    {"POST", "/api/blobs/sha256:ab", Op::blob_upload, Is::node_state, Dialect::native, "sha256:ab"},
    {"POST", "/v1/chat/completions", Op::chat_completions, Is::inference, Dialect::openai},
    {"POST", "/v1/completions", Op::completions, Is::inference, Dialect::openai},
    {"POST", "/v1/embeddings", Op::openai_embeddings, Is::inference, Dialect::openai},
    {"POST", "/v1/responses", Op::responses, Is::inference, Dialect::openai},
    {"POST", "/v1/audio/transcriptions", Op::transcriptions, Is::inference, Dialect::openai},
    {"GET", "/v1/models", Op::models, Is::aggregate, Dialect::openai},
    {"GET", "/v1/models/llama3.2:3b", Op::model, Is::aggregate, Dialect::openai, "llama3.2:3b"},
    {"POST", "/v1/messages", Op::messages, Is::inference, Dialect::anthropic},
    {"POST", "/api/me", Op::me, Is::cloud},
    {"POST", "/api/signout", Op::signout, Is::cloud},
    {"DELETE", "/api/user/keys/abc", Op::delete_key, Is::cloud, Dialect::native, "abc"},
    {"POST", "/api/experimental/web_search", Op::web_search, Is::cloud},
    {"POST", "/api/experimental/web_fetch", Op::web_fetch, Is::cloud},
    {"GET", "/api/experimental/model-recommendations", Op::recommendations, Is::local},

    {"HEAD", "/api/ps", Op::none, Is::wrong_method},
    {"HEAD", "/v1/models", Op::none, Is::wrong_method, Dialect::openai},
    {"GET", "/api/chat", Op::none, Is::wrong_method},
    {"POST", "/api/tags", Op::none, Is::wrong_method},
    {"POST", "/api/delete", Op::none, Is::wrong_method},
    {"GET", "/api/blobs/sha256:ab", Op::none, Is::wrong_method},
    {"get", "/api/tags", Op::none, Is::wrong_method},
    {"GET", "/v1/messages", Op::none, Is::wrong_method, Dialect::anthropic},

    {"POST", "/v1/messages/count_tokens", Op::none, Is::unknown_path},
    {"POST", "/v1/images/generations", Op::none, Is::unknown_path},
    {"GET", "/api/tags/", Op::none, Is::unknown_path},
    {"GET", "/API/tags", Op::none, Is::unknown_path},
    {"GET", "//", Op::none, Is::unknown_path},
    {"GET", "", Op::none, Is::unknown_path},
    {"GET", "/v1/models/", Op::none, Is::unknown_path},
    {"GET", "/v1/models/me/x", Op::none, Is::unknown_path},
    {"GET", "/v1/models/me%2Fx", Op::none, Is::unknown_path},
    {"HEAD", "/api/blobs/", Op::none, Is::unknown_path},
    {"GET", "/debug/pprof/", Op::none, Is::unknown_path},
    {"POST", "/api/web_search", Op::none, Is::unknown_path},
};

TEST(Routes, MatchOllamas) {
  for (const auto& row : route_table) {
    SCOPED_TRACE(testing::Message() << row.method << ' ' << row.path);
    const auto route = match_route(row.method, row.path);
    EXPECT_EQ(route.operation, row.operation);
    EXPECT_EQ(route.route_class, row.route_class);
    EXPECT_EQ(route.parameter, row.parameter);
    if (row.route_class != Is::unknown_path) {
      EXPECT_EQ(route.dialect, row.dialect);
    }
  }
}

TEST(Routes, OperationsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Op::none); ++i) {
    const auto name = operation_name(static_cast<Operation>(i));
    EXPECT_FALSE(name.empty());
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(operation_name(Op::none), "none");
  EXPECT_EQ(operation_name(Op::messages), "messages");
}

TEST(Query, FindsAKeysFirstValue) {
  EXPECT_EQ(query_value("node=a&x=1&node=b", "node"), "a");
  EXPECT_EQ(query_value("x=1&node=b%20c", "node"), "b%20c");
  EXPECT_EQ(query_value("nodes=a", "node"), "");
  EXPECT_EQ(query_value("node", "node"), "");
  EXPECT_EQ(query_value("&&=&node=z", "node"), "z");
  EXPECT_EQ(query_value("", "node"), "");
}

TEST(PercentDecode, DecodesWholeEscapesOnly) {
  EXPECT_EQ(percent_decode("llama3.2%3a3b"), "llama3.2:3b");
  EXPECT_EQ(percent_decode("a%2Fb+c"), "a/b+c");
  EXPECT_EQ(percent_decode("%"), "%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
}

}  // namespace
}  // namespace sollol::api
