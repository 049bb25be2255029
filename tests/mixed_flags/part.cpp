// SPDX-License-Identifier: MIT
// One of the translation units of test_mixed_flags: the same source, each with its own compiler flags and namespace
// PART. Each has what its own flags enable, and nothing else.
#include "part.hpp"

#include <bitnet/run/open_model.hpp>

#include <typeinfo>
#include <utility>

namespace PART {

std::vector<std::int32_t> greedy_ids(const char* path) {
    std::vector<std::int32_t> ids;
    auto file = bitnet::byte_source::open(path); // a GGUF file: readers of other kinds need not be compiled three times
    if (!file) {
        return ids;
    }
    const auto model = bitnet::any_model::open<bitnet::ladder<bitnet::native>>(*std::move(file));
    if (!model) {
        return ids;
    }
    auto session = bitnet::any_session::open(*model, {.context = 40, .threads = 2, .stop_at_stop_tokens = false});
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), model->parameters().vocabulary);
    const auto prompt = model->text().encode("Once upon a time");
    if (session && choose && prompt && session->feed(*prompt)) {
        while (const auto token = session->next(*choose)) {
            ids.push_back(*token);
        }
    }
    return ids;
}

const char* type_name() { return typeid(bitnet::any_model).name(); }

} // namespace PART
