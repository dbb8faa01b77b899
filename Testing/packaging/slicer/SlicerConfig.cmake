# Stands in for Slicer's build tree: what find_package(Slicer) finds. It records what the extension asks for, and refuses
# what Slicer's own build system refuses or would silently do something else with.

set(Slicer_FOUND TRUE)
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionCPack.cmake")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "qt-scripted-modules")
