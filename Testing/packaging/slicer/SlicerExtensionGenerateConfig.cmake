slicer_record(GENERATED_CONFIG "${EXTENSION_NAME}Config.cmake")
