// SPDX-License-Identifier: MIT
// A plug-in with the library inside: plug_in_open() loads a model and runs a prompt on two threads, plug_in_close()
// lets go of all of it.
#include <bitnet/bitnet.hpp>

#include <memory>
#include <utility>

namespace {

using policy = bitnet::policy<bitnet::isa::scalar>;

struct state {
    bitnet::model<policy> model;
    std::unique_ptr<bitnet::session<policy>> session;
};
std::unique_ptr<state> loaded;

} // namespace

/// The token after "Once upon a time", or -1.
extern "C" int plug_in_open(const char* path) {
    auto model = bitnet::model<policy>::open(path);
    if (!model) {
        return -1;
    }
    loaded = std::make_unique<state>(state{*std::move(model), nullptr});
    auto session = bitnet::session<policy>::open(loaded->model, {.context = 64, .threads = 2});
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), loaded->model.parameters().vocabulary);
    const auto prompt = loaded->model.text().encode("Once upon a time");
    if (!session || !choose || !prompt) {
        return -1;
    }
    loaded->session = std::make_unique<bitnet::session<policy>>(*std::move(session));
    if (!loaded->session->feed(*prompt)) {
        return -1;
    }
    return loaded->session->next(*choose).value_or(-1);
}

extern "C" void plug_in_close() { loaded.reset(); }
