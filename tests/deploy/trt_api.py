"""The TensorRT names that our code uses, and the releases in which each exists.

Each column was read from the real bindings with hasattr; ``test_table_is_that_of_the_real_bindings`` does it again.
"""

from __future__ import annotations

RELEASES = ("8.5.2.2", "8.6.1", "10.0.1", "10.16.1.11", "11.4.0.106", "rtx 1.7.1.116")

_EVERYWHERE = """
Builder Builder.create_network Builder.create_builder_config Builder.create_optimization_profile
Builder.build_serialized_network Builder.num_DLA_cores
NetworkDefinitionCreationFlag
BuilderFlag BuilderFlag.GPU_FALLBACK
IBuilderConfig IBuilderConfig.set_memory_pool_limit IBuilderConfig.set_flag
IBuilderConfig.add_optimization_profile IBuilderConfig.create_timing_cache
IBuilderConfig.set_timing_cache IBuilderConfig.get_timing_cache IBuilderConfig.default_device_type
IBuilderConfig.DLA_core
MemoryPoolType MemoryPoolType.WORKSPACE DeviceType DeviceType.DLA
IOptimizationProfile IOptimizationProfile.set_shape ITimingCache ITimingCache.serialize
OnnxParser OnnxParser.parse OnnxParser.num_errors OnnxParser.get_error ParserError ParserError.node
ParserError.desc
INetworkDefinition INetworkDefinition.num_layers INetworkDefinition.get_layer
INetworkDefinition.get_input
ILayer ILayer.name ILayer.type ILayer.num_inputs ILayer.num_outputs ILayer.get_input ILayer.get_output
ITensor ITensor.name ITensor.dtype ITensor.shape
LayerType LayerType.TOPK LayerType.POOLING LayerType.SELECT LayerType.ELEMENTWISE LayerType.SHUFFLE
LayerType.QUANTIZE LayerType.CONVOLUTION LayerType.DECONVOLUTION LayerType.IDENTITY
Runtime Runtime.deserialize_cuda_engine Runtime.DLA_core
ICudaEngine ICudaEngine.num_io_tensors ICudaEngine.get_tensor_name ICudaEngine.get_tensor_mode
ICudaEngine.get_tensor_shape ICudaEngine.get_tensor_dtype ICudaEngine.get_tensor_profile_shape
ICudaEngine.create_execution_context ICudaEngine.num_optimization_profiles
IExecutionContext.set_optimization_profile_async
IExecutionContext IExecutionContext.set_input_shape IExecutionContext.get_tensor_shape
IExecutionContext.set_tensor_address IExecutionContext.execute_async_v3
TensorIOMode TensorIOMode.INPUT TensorIOMode.OUTPUT
DataType DataType.FLOAT DataType.HALF DataType.INT32 DataType.UINT8 DataType.INT8 DataType.BOOL
float32 float16 bool
ILogger ILogger.INTERNAL_ERROR ILogger.ERROR ILogger.WARNING ILogger.log
"""
# One letter per release, y if it has the name.
_SOMEWHERE = {
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": "yyyy--",
    "BuilderFlag.FP16": "yyyy--",
    "BuilderFlag.INT8": "yyyy--",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "yyyy--",
    "IBuilderConfig.int8_calibrator": "yyyy--",
    "IBuilderConfig.builder_optimization_level": "-yyyyy",
    "ILayer.precision": "yyyy--",
    "ILayer.set_output_type": "yyyy--",
    "LayerType.CAST": "-yyyyy",
    "DataType.INT64": "--yyyy",
    "IInt8EntropyCalibrator2": "yyyy--",
}
TABLE = {**dict.fromkeys(_EVERYWHERE.split(), "y" * len(RELEASES)), **_SOMEWHERE}


def names_of(release: str) -> frozenset[str]:
    """Return the names of a release."""
    column = RELEASES.index(release)
    return frozenset(name for name, row in TABLE.items() if row[column] == "y")
