// Finds the people of a photo with OpenVINO and prints them as JSON:
//
//   openvino_photo model.onnx photo.ppm
//
// The network's JSON, model.onnx.json, lies beside it. With another runtime only `run_network` changes.
#include <iostream>
#include <openvino/openvino.hpp>

#include "photo_input.h"

namespace {

// Returns the outputs by name.
std::map<std::string, ov::Tensor> run_network(const std::string& path, const ehrpose::Sidecar& sidecar, int width,
                                              int height, const std::vector<std::uint8_t>& pixels) {
  ov::Core core;
  // OpenVINO itself would compute in bfloat16 on processors that have it.
  ov::CompiledModel model = core.compile_model(path, "CPU", ov::hint::inference_precision(ov::element::f32));
  ov::InferRequest request = model.create_infer_request();
  const auto w = static_cast<std::size_t>(width), h = static_cast<std::size_t>(height);
  const ov::Shape shape = sidecar.layout == "NCHW" ? ov::Shape{1, 3, h, w} : ov::Shape{1, h, w, 3};
  ov::Tensor input(sidecar.dtype == "uint8" ? ov::element::u8 : ov::element::f32, shape);
  if (sidecar.dtype == "uint8") {
    std::copy(pixels.begin(), pixels.end(), input.data<std::uint8_t>());
  } else {
    std::copy(pixels.begin(), pixels.end(), input.data<float>());
  }
  request.set_tensor(sidecar.input_name, input);
  request.infer();
  std::map<std::string, ov::Tensor> outputs;
  for (const std::string& name : sidecar.outputs) outputs[name] = request.get_tensor(name);
  return outputs;
}

ehrpose::Map map_of(const std::map<std::string, ov::Tensor>& outputs, const std::string& name) {
  const auto found = outputs.find(name);
  if (found == outputs.end()) return {};
  const ov::Shape shape = found->second.get_shape();  // one image
  return {found->second.data<float>(), static_cast<int>(shape[1]), static_cast<int>(shape[2]),
          static_cast<int>(shape[3])};
}

std::vector<ehrpose::Person> decoded(const ehrpose::Decoder& decoder,
                                     const std::map<std::string, ov::Tensor>& outputs, bool are_peaks,
                                     const ehrpose::InputPlan& plan) {
  if (!are_peaks) {
    return decoder.decode(
        {map_of(outputs, "heat4"), map_of(outputs, "tag4"), map_of(outputs, "heat2"), map_of(outputs, "tag2")});
  }
  const ov::Shape shape = outputs.at("peak_scores").get_shape();
  ehrpose::Peaks peaks;
  peaks.num_types = static_cast<int>(shape[1]);
  peaks.num_candidates = static_cast<int>(shape[2]);
  peaks.num_tags = static_cast<int>(outputs.at("peak_tags").get_shape()[1]);
  peaks.scores = outputs.at("peak_scores").data<float>();
  peaks.pixels = outputs.at("peak_pixels").data<std::int32_t>();
  peaks.cross = outputs.at("peak_cross").data<float>();
  peaks.heat = outputs.at("peak_heat").data<float>();
  peaks.tags = outputs.at("peak_tags").data<float>();
  return decoder.decode_peaks(peaks, plan.width, plan.height);
}

}  // namespace

int main(int count, char** values) {
  if (count != 3) {
    std::cerr << "usage: openvino_photo NETWORK PHOTO.ppm\n";
    return 2;
  }
  try {
    const std::string path = values[1];
    const ehrpose::Sidecar sidecar = ehrpose::read_sidecar(path + ".json");
    if (sidecar.batch != 1) throw std::invalid_argument("expected a network for one image at a time");
    const examples::Photo photo = examples::read_ppm(values[2]);
    const ehrpose::InputPlan plan = ehrpose::plan_input(sidecar, photo.width, photo.height);
    const auto outputs =
        run_network(path, sidecar, plan.width, plan.height, examples::network_input(photo, sidecar, plan));
    const ehrpose::Decoder decoder(sidecar.settings);
    std::cout << examples::people_json(ehrpose::to_photo(decoded(decoder, outputs, sidecar.peaks, plan), plan.warp),
                                       false)
              << "\n";
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
